-- +goose Up
-- When the member was told last that somebody tried to sign up with their phone or email.
ALTER TABLE member ADD COLUMN told_at DATETIME(3) NULL;
