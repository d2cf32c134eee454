-- +goose Up
-- Number of the slip's last event.
ALTER TABLE delivery_slip ADD COLUMN event_seq BIGINT NOT NULL DEFAULT 0;

-- What other services follow, written in the local transaction that made it true. seq counts the events of one order.
CREATE TABLE outbox (
  id           BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  event_id     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  event_type   VARCHAR(64) CHARACTER SET ascii NOT NULL,
  order_id     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  seq          BIGINT      NOT NULL,
  created_at   DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- How often the relay took it, which relay did last, and when the next may: when the lease or the pause is over.
  attempts     INT         NOT NULL DEFAULT 0,
  lease_owner  VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  next_at      DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  delivered_at DATETIME(3) NULL,
  UNIQUE KEY event_id (event_id),
  UNIQUE KEY order_seq (order_id, seq),
  KEY due (delivered_at, next_at)
);
