-- +goose Up
-- Confirms and Cancels that found no row left by their Try, until they pass or nobody repeats them any more.
CREATE TABLE branch_not_tried (
  gid         VARBINARY(64)  NOT NULL,
  branch_id   VARBINARY(64)  NOT NULL,
  op          VARBINARY(45)  NOT NULL,
  participant VARBINARY(64)  NOT NULL,
  -- What the transaction is about.
  subject     VARBINARY(128) NOT NULL,
  times       INT            NOT NULL DEFAULT 1,
  first_at    DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  last_at     DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  PRIMARY KEY (gid, branch_id, op),
  KEY first_at (first_at)
) DEFAULT CHARSET = utf8mb4;
