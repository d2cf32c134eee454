-- +goose Up
-- The part of the books' digest that an order belongs to (chassis/books), so that a part that differs can be read on its own.
ALTER TABLE orders
  ADD COLUMN bucket SMALLINT UNSIGNED GENERATED ALWAYS AS (CRC32(id) & 4095) STORED,
  ADD KEY bucket (bucket);

-- The regular conservation check, one row: who begins next writes began_at, and what came of it is there for every instance.
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
