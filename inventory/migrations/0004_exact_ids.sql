-- +goose Up
-- Ids are compared byte by byte: another case or a blank behind makes another id. VARBINARY, because the binary collations that
-- MariaDB and MySQL share ignore blanks at the end.
ALTER TABLE stock_freeze
  MODIFY COLUMN order_id   VARBINARY(64) NOT NULL,
  MODIFY COLUMN gid        VARBINARY(64) NOT NULL,
  MODIFY COLUMN refund_gid VARBINARY(64) NOT NULL DEFAULT '';
ALTER TABLE barrier
  MODIFY COLUMN trans_type VARBINARY(45) NOT NULL,
  MODIFY COLUMN gid        VARBINARY(64) NOT NULL,
  MODIFY COLUMN branch_id  VARBINARY(64) NOT NULL,
  MODIFY COLUMN op         VARBINARY(45) NOT NULL,
  MODIFY COLUMN barrier_id VARBINARY(45) NOT NULL,
  MODIFY COLUMN reason     VARBINARY(45) NOT NULL DEFAULT '';
