-- +goose Up
-- Counts the changes of a product's name and price, from 1.
ALTER TABLE product ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
