-- +goose Up
-- Events go through chassis/mq from here on. This waits for who is writing one; an instance of the version before fails behind it, and
-- what it would have told is not lost.
ALTER TABLE outbox RENAME TO outbox_before_mq;
