-- +goose Up
-- The ids of transactions and branches are compared byte by byte. The default of MariaDB ignores case, and takes all characters beyond the first
-- 65,536 for the same.
ALTER TABLE trans_global CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE trans_branch_op CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE kv CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
