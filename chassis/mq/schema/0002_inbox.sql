-- +goose Up
-- The numbers of a subject begin at 1 in each generation of the publisher's database.
ALTER TABLE mq_inbox
  ADD COLUMN generation VARBINARY(36) NOT NULL DEFAULT '' AFTER subject,
  -- When a person last had it tried again.
  ADD COLUMN redriven_at DATETIME(3) NULL AFTER created_at;
