-- +goose Up
-- Which one it is of those that come and go in turns, so that each is told once; 0 when that does not matter.
ALTER TABLE alert ADD COLUMN occurrence BIGINT NOT NULL DEFAULT 0;
