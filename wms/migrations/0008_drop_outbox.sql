-- +goose Up
DROP TABLE outbox_before_mq;
