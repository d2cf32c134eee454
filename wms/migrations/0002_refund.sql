-- +goose Up
-- The refund that holds the slip or held it last, else empty. gid stays the payment's.
ALTER TABLE delivery_slip ADD COLUMN refund_gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '';
