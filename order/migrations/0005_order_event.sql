-- +goose Up
-- The permanent log of what happened to orders. What other services are told goes through chassis/mq.
ALTER TABLE outbox RENAME TO order_event;
