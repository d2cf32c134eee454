-- +goose Up
-- How often a provider was given it without saying whether it has it.
ALTER TABLE notification ADD COLUMN unanswered INT NOT NULL DEFAULT 0 AFTER tries;
