-- +goose Up
CREATE TABLE product (
  sku         VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  name        VARCHAR(200) NOT NULL,
  price_cents BIGINT       NOT NULL,
  created_at  DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
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
  order_id   VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  sku        VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  gid        VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  quantity   BIGINT      NOT NULL,
  status     VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
  created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  PRIMARY KEY (order_id, sku),
  KEY status_age (status, created_at),
  CHECK (quantity > 0)
) DEFAULT CHARSET = utf8mb4;

-- The barrier of DTM's client: one row a phase of a branch, written with the phase's effect.
CREATE TABLE barrier (
  id          BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  trans_type  VARCHAR(45) COLLATE utf8mb4_bin NOT NULL,
  gid         VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  branch_id   VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  op          VARCHAR(45) COLLATE utf8mb4_bin NOT NULL,
  barrier_id  VARCHAR(45) COLLATE utf8mb4_bin NOT NULL,
  reason      VARCHAR(45) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  create_time DATETIME    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY uniq_barrier (gid, branch_id, op, barrier_id),
  KEY create_time (create_time)
) DEFAULT CHARSET = utf8mb4;
