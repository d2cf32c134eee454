-- +goose Up
-- The part of the books' digest that a row belongs to (chassis/books), so that a part that differs can be read on its own.
ALTER TABLE credit_entry
  ADD COLUMN bucket SMALLINT UNSIGNED GENERATED ALWAYS AS (CRC32(source) & 4095) STORED,
  ADD KEY bucket (bucket);
