-- +goose Up
-- Final answers to calls with an Idempotency-Key, written with the effect (chassis/idempotency).
CREATE TABLE idempotency (
  member_id  VARCHAR(64)    COLLATE utf8mb4_bin NOT NULL,
  path       VARCHAR(100)   COLLATE utf8mb4_bin NOT NULL,
  idem_key   VARCHAR(100)   COLLATE utf8mb4_bin NOT NULL,
  -- SHA-256 of the request.
  body_hash  VARBINARY(32)  NOT NULL,
  -- HTTP status, and the reply (2xx) or the error as protobuf.
  code       INT            NOT NULL,
  reply      MEDIUMBLOB     NOT NULL,
  created_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  PRIMARY KEY (member_id, path, idem_key),
  KEY created_at (created_at)
) DEFAULT CHARSET = utf8mb4;
