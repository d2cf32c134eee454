-- +goose Up
-- A row for each member who creates an order: its lock lets the open orders of a member be counted before one more is written.
CREATE TABLE buyer (
  member_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY
) DEFAULT CHARSET = utf8mb4;
