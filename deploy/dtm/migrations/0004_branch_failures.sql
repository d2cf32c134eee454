-- +goose Up
-- How often the call of a branch has failed, and why the last time.
ALTER TABLE trans_branch_op
  ADD COLUMN tries INT NOT NULL DEFAULT 0,
  ADD COLUMN last_error VARCHAR(500) NOT NULL DEFAULT '',
  ALGORITHM = INSTANT;
