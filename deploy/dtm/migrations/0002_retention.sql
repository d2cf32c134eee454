-- +goose Up
ALTER TABLE trans_global ADD KEY finished (status, update_time);
ALTER TABLE trans_branch_op ADD KEY create_time (create_time);
