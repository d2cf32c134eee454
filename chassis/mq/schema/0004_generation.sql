-- +goose Up
-- Since when the numbers in this database have begun anew: the latest row's id goes with every event that is appended. There is none before the
-- first restore.
CREATE TABLE mq_generation (
  id         VARBINARY(36) NOT NULL PRIMARY KEY,
  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4;
