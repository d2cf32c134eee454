-- +goose Up
-- The number of the last event before the current generation: events are published with the difference (chassis/mq/generation.go).
ALTER TABLE orders ADD COLUMN event_base BIGINT NOT NULL DEFAULT 0 AFTER event_seq;
