-- +goose Up
-- The copy of the catalogue compares names as inventory does.
ALTER TABLE product MODIFY COLUMN name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL;
