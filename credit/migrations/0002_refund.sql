-- +goose Up
-- The refund that holds the entry or held it last, else empty. gid stays the payment's.
ALTER TABLE credit_entry ADD COLUMN refund_gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '';
