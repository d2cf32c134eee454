-- +goose Up
-- When a sweeper last looked at an overdue attempt.
ALTER TABLE payment_attempt ADD COLUMN looked_at DATETIME(3) NULL;
