-- +goose Up
-- The generation of inventory's database in which version counts.
ALTER TABLE product ADD COLUMN generation VARBINARY(36) NOT NULL DEFAULT '' AFTER version;
