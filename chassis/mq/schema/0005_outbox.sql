-- +goose Up
ALTER TABLE mq_outbox
  -- What the event says, for the audit of those that want only some types. Empty in rows of before.
  ADD COLUMN type VARBINARY(64) NOT NULL DEFAULT '' AFTER subject,
  -- When the broker refused it for good, NULL if it did not.
  ADD COLUMN refused_at DATETIME(3) NULL AFTER last_error,
  -- When it was last made READY once more.
  ADD COLUMN resent_at DATETIME(3) NULL AFTER closed_at,
  ADD KEY refused (refused_at);
