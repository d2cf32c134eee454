-- +goose Up
-- Ids are compared byte by byte: another case or a blank at the end makes another id. They are VARBINARY, because the binary collations
-- that MariaDB and MySQL share ignore blanks at the end.

CREATE TABLE orders (
  id          VARBINARY(64) NOT NULL PRIMARY KEY,
  member_id   VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL,
  status      VARCHAR(16)  COLLATE utf8mb4_bin NOT NULL,
  -- Why it is CANCELED, else empty.
  reason      VARCHAR(32)  COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  -- The global transaction that holds the order or held it last, else empty.
  gid         VARBINARY(64) NOT NULL DEFAULT '',
  total_cents BIGINT       NOT NULL,
  points      BIGINT       NOT NULL,
  address     VARCHAR(500) NOT NULL,
  -- Number of the order's last event.
  event_seq   BIGINT       NOT NULL DEFAULT 0,
  created_at  DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at  DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  expires_at  DATETIME(3)  NOT NULL,
  paid_at     DATETIME(3)  NULL,
  -- The part of the books' digest that the order belongs to (chassis/ledger), so that a part that differs can be read on its own.
  bucket      SMALLINT UNSIGNED GENERATED ALWAYS AS (CRC32(id) & 4095) STORED,
  KEY of_member (member_id, id),
  KEY status_expiry (status, expires_at),
  KEY bucket (bucket),
  CHECK (total_cents > 0),
  CHECK (points >= 0)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE order_line (
  order_id    VARBINARY(64) NOT NULL,
  sku         VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL,
  name        VARCHAR(200) NOT NULL,
  price_cents BIGINT       NOT NULL,
  quantity    BIGINT       NOT NULL,
  PRIMARY KEY (order_id, sku),
  CHECK (price_cents > 0),
  CHECK (quantity > 0)
) DEFAULT CHARSET = utf8mb4;

-- Each attempt to pay or to refund an order is one global transaction. At most one is OPEN.
CREATE TABLE payment_attempt (
  order_id    VARBINARY(64) NOT NULL,
  no          INT         NOT NULL,
  gid         VARBINARY(64) NOT NULL,
  -- PAYMENT or REFUND.
  kind        VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
  state       VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
  -- Why the initiator asked to cancel; Cancel copies it to the order.
  reason      VARCHAR(32) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  created_at  DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at  DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  -- Until when a sweeper looks after an overdue attempt.
  lease_until DATETIME(3) NULL,
  -- Not NULL only while OPEN, so that the unique key allows one.
  open_order  VARBINARY(64) GENERATED ALWAYS AS (IF(state = 'OPEN', order_id, NULL)) STORED,
  PRIMARY KEY (order_id, no),
  UNIQUE KEY gid (gid),
  UNIQUE KEY one_open (open_order),
  KEY state_age (state, created_at)
) DEFAULT CHARSET = utf8mb4;

-- The permanent log of what happened to orders, written in the local transaction that made it true. seq counts the events of one order.
-- What other services are told goes through chassis/mq.
CREATE TABLE order_event (
  id         BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
  event_id   VARBINARY(64) NOT NULL,
  event_type VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  order_id   VARBINARY(64) NOT NULL,
  seq        BIGINT        NOT NULL,
  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  UNIQUE KEY event_id (event_id),
  UNIQUE KEY order_seq (order_id, seq)
) DEFAULT CHARSET = utf8mb4;

-- Final answers to calls with an Idempotency-Key, written with the effect where there is one.
CREATE TABLE idempotency (
  member_id  VARCHAR(64)    COLLATE utf8mb4_bin NOT NULL,
  path       VARCHAR(100)   COLLATE utf8mb4_bin NOT NULL,
  idem_key   VARCHAR(100)   COLLATE utf8mb4_bin NOT NULL,
  -- SHA-256 of the request.
  body_hash  VARBINARY(32)  NOT NULL,
  -- HTTP status, and the order (2xx) or the error as protobuf.
  code       INT            NOT NULL,
  reply      MEDIUMBLOB     NOT NULL,
  created_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  PRIMARY KEY (member_id, path, idem_key),
  KEY created_at (created_at)
) DEFAULT CHARSET = utf8mb4;

-- The regular conservation check, one row: the instance that begins next writes began_at, and all read there what came of it.
CREATE TABLE conservation (
  id          INT         NOT NULL PRIMARY KEY,
  began_at    DATETIME(3) NOT NULL,
  -- Of the last check that could be made.
  finished_at DATETIME(3) NULL,
  took_ms     BIGINT      NOT NULL DEFAULT 0,
  -- JSON: check to how many rows break it.
  violations  TEXT        NOT NULL,
  CHECK (id = 1)
) DEFAULT CHARSET = utf8mb4;
INSERT INTO conservation (id, began_at, violations) VALUES (1, '2000-01-01', '{}');

-- Order's copy of what inventory sells, so that orders are taken while inventory is away. version is the number of the change it is at.
CREATE TABLE product (
  sku         VARBINARY(64) NOT NULL PRIMARY KEY,
  name        VARCHAR(200)  NOT NULL,
  price_cents BIGINT        NOT NULL,
  version     BIGINT        NOT NULL,
  CHECK (price_cents > 0)
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
