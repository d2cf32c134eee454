-- +goose Up
-- Ids are compared byte by byte: another case or a blank at the end makes another id. They are VARBINARY, because the binary collations
-- that MariaDB and MySQL share ignore blanks at the end.

-- One slip an order. The states are in internal/delivery. id is a UUIDv7: it grows with time.
CREATE TABLE delivery_slip (
  id         VARCHAR(36)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  order_id   VARBINARY(64) NOT NULL,
  -- The payment's transaction.
  gid        VARBINARY(64) NOT NULL,
  status     VARCHAR(16)   CHARACTER SET ascii NOT NULL,
  address    VARCHAR(500)  NOT NULL,
  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  -- The refund that holds the slip or held it last, else empty.
  refund_gid VARBINARY(64) NOT NULL DEFAULT '',
  -- Number of the slip's last event.
  event_seq  BIGINT        NOT NULL DEFAULT 0,
  -- The part of the books' digest that the row belongs to (chassis/ledger), so that a part that differs can be read on its own.
  bucket     SMALLINT UNSIGNED GENERATED ALWAYS AS (CRC32(order_id) & 4095) STORED,
  UNIQUE KEY uniq_order (order_id),
  KEY status_id (status, id),
  KEY bucket (bucket)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE delivery_line (
  slip_id  VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  sku      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  quantity INT         NOT NULL,
  PRIMARY KEY (slip_id, sku),
  CHECK (quantity > 0)
);

-- The switch, one row. Every Try reads it under a shared lock.
CREATE TABLE warehouse (
  id   INT     NOT NULL PRIMARY KEY,
  open BOOLEAN NOT NULL,
  CHECK (id = 1)
);
INSERT INTO warehouse (id, open) VALUES (1, TRUE);

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
);
