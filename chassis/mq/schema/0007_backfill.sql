-- +goose Up
-- TRUE for an event that is sent again only because the broker's history lacks it: it had its effect, and goes by the broker alone.
ALTER TABLE mq_outbox ADD COLUMN backfill BOOLEAN NOT NULL DEFAULT FALSE, ALGORITHM = INSTANT;
