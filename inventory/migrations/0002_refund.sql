-- +goose Up
-- The refund that holds the row or held it last, else empty. gid stays the payment's.
ALTER TABLE stock_freeze ADD COLUMN refund_gid VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '';
