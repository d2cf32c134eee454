-- +goose Up
-- epoch counts how often a member's tokens were ended, the last time at ended_at; a token names the epoch that it was made in. A member who is
-- closed has neither phone nor email, which others may take, and no name; the id stays with what the member bought.
ALTER TABLE member
  MODIFY COLUMN phone VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NULL,
  MODIFY COLUMN email VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NULL,
  ADD COLUMN epoch     BIGINT      NOT NULL DEFAULT 0,
  ADD COLUMN ended_at  DATETIME(3) NULL,
  ADD COLUMN closed_at DATETIME(3) NULL,
  ADD KEY ended_at (ended_at);
