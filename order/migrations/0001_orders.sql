-- +goose Up
CREATE TABLE orders (
  id          VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  member_id   VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL,
  status      VARCHAR(16)  COLLATE utf8mb4_bin NOT NULL,
  -- Why it is CANCELED, else empty.
  reason      VARCHAR(32)  COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  -- The global transaction that holds the order or held it last, else empty.
  gid         VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  total_cents BIGINT       NOT NULL,
  points      BIGINT       NOT NULL,
  address     VARCHAR(500) NOT NULL,
  -- Number of the order's last event.
  event_seq   BIGINT       NOT NULL DEFAULT 0,
  created_at  DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at  DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  expires_at  DATETIME(3)  NOT NULL,
  paid_at     DATETIME(3)  NULL,
  KEY of_member (member_id, id),
  KEY status_expiry (status, expires_at),
  CHECK (total_cents > 0),
  CHECK (points >= 0)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE order_line (
  order_id    VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL,
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
  order_id    VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  no          INT         NOT NULL,
  gid         VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
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
  open_order  VARCHAR(64) COLLATE utf8mb4_bin GENERATED ALWAYS AS (IF(state = 'OPEN', order_id, NULL)) STORED,
  PRIMARY KEY (order_id, no),
  UNIQUE KEY gid (gid),
  UNIQUE KEY one_open (open_order),
  KEY state_age (state, created_at)
) DEFAULT CHARSET = utf8mb4;

-- Facts to be published, written in the local transaction that made them true. seq counts the events of one order.
CREATE TABLE outbox (
  id         BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  event_id   VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  event_type VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  order_id   VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  seq        BIGINT      NOT NULL,
  created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  UNIQUE KEY event_id (event_id),
  UNIQUE KEY order_seq (order_id, seq)
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
