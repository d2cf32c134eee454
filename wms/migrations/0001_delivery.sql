-- +goose Up
-- One slip an order. The states are in internal/delivery. id is a UUIDv7: it grows with time.
CREATE TABLE delivery_slip (
  id         VARCHAR(36)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  order_id   VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  gid        VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  status     VARCHAR(16)  CHARACTER SET ascii NOT NULL,
  address    VARCHAR(500) NOT NULL,
  created_at DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  UNIQUE KEY uniq_order (order_id),
  KEY status_id (status, id)
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
  id          BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  trans_type  VARCHAR(45) CHARACTER SET ascii NOT NULL,
  gid         VARCHAR(64) CHARACTER SET ascii NOT NULL,
  branch_id   VARCHAR(64) CHARACTER SET ascii NOT NULL,
  op          VARCHAR(45) CHARACTER SET ascii NOT NULL,
  barrier_id  VARCHAR(45) CHARACTER SET ascii NOT NULL,
  reason      VARCHAR(45) CHARACTER SET ascii NOT NULL DEFAULT '',
  create_time DATETIME    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY uniq_barrier (gid, branch_id, op, barrier_id),
  KEY create_time (create_time)
);
