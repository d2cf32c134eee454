-- +goose Up
-- Names are searched. The default of MariaDB takes all characters beyond the first 65,536, which emoji are, for the same.
ALTER TABLE product MODIFY COLUMN name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL;
