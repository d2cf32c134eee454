-- +goose Up
ALTER TABLE mq_position
  ADD COLUMN generation VARBINARY(36) NOT NULL DEFAULT '' AFTER subject,
  DROP PRIMARY KEY,
  ADD PRIMARY KEY (grp, source, subject, generation);
