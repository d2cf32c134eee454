-- +goose Up
-- The number of the last change before the current generation: changes are published with the difference (chassis/mq/generation.go).
ALTER TABLE product ADD COLUMN version_base BIGINT NOT NULL DEFAULT 0 AFTER version;
