-- +goose Up
-- Ids are compared byte by byte: another case or a blank at the end makes another id. They are VARBINARY, because the binary collations
-- that MariaDB and MySQL share ignore blanks at the end.

CREATE TABLE product (
  sku         VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  name        VARCHAR(200) NOT NULL,
  price_cents BIGINT       NOT NULL,
  created_at  DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- Counts the changes of name and price, from 1.
  version     BIGINT       NOT NULL DEFAULT 1,
  CHECK (price_cents > 0)
) DEFAULT CHARSET = utf8mb4;

-- The books: every unit received is sellable, frozen or sold.
CREATE TABLE stock (
  sku      VARCHAR(64) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  sellable BIGINT NOT NULL DEFAULT 0,
  frozen   BIGINT NOT NULL DEFAULT 0,
  sold     BIGINT NOT NULL DEFAULT 0,
  received BIGINT NOT NULL DEFAULT 0,
  CHECK (sellable >= 0),
  CHECK (frozen >= 0),
  CHECK (sold >= 0),
  CHECK (sellable + frozen + sold = received)
) DEFAULT CHARSET = utf8mb4;

-- What an order holds or took. The states are in internal/stock.
CREATE TABLE stock_freeze (
  order_id   VARBINARY(64) NOT NULL,
  sku        VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  -- The payment's transaction.
  gid        VARBINARY(64) NOT NULL,
  quantity   BIGINT        NOT NULL,
  status     VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  -- The refund that holds the row or held it last, else empty.
  refund_gid VARBINARY(64) NOT NULL DEFAULT '',
  -- The part of the books' digest that the row belongs to (chassis/ledger), so that a part that differs can be read on its own.
  bucket     SMALLINT UNSIGNED GENERATED ALWAYS AS (CRC32(order_id) & 4095) STORED,
  PRIMARY KEY (order_id, sku),
  KEY status_age (status, created_at),
  KEY bucket (bucket),
  CHECK (quantity > 0)
) DEFAULT CHARSET = utf8mb4;

-- The barrier of DTM's client: one row a phase of a branch, written with the phase's effect.
CREATE TABLE barrier (
  id          BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
  trans_type  VARBINARY(45) NOT NULL,
  gid         VARBINARY(64) NOT NULL,
  branch_id   VARBINARY(64) NOT NULL,
  op          VARBINARY(45) NOT NULL,
  barrier_id  VARBINARY(45) NOT NULL,
  reason      VARBINARY(45) NOT NULL DEFAULT '',
  create_time DATETIME      NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY uniq_barrier (gid, branch_id, op, barrier_id),
  KEY create_time (create_time)
) DEFAULT CHARSET = utf8mb4;
