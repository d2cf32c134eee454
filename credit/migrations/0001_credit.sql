-- +goose Up
-- The books: credit + prepare_deduct_credit = the points of entries ADDED or DEDUCTING, prepare_add_credit = those of
-- entries PREPARED.
CREATE TABLE credit_account (
  member_id             VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  credit                BIGINT  NOT NULL DEFAULT 0,
  prepare_add_credit    BIGINT  NOT NULL DEFAULT 0,
  prepare_deduct_credit BIGINT  NOT NULL DEFAULT 0,
  frozen                BOOLEAN NOT NULL DEFAULT FALSE,
  CHECK (credit >= 0),
  CHECK (prepare_add_credit >= 0),
  CHECK (prepare_deduct_credit >= 0)
);

-- What a member got points for: an order or an event. The states are in internal/account. gid is empty for an entry that
-- no transaction made.
CREATE TABLE credit_entry (
  source     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  member_id  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  gid        VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  points     BIGINT      NOT NULL,
  status     VARCHAR(16) CHARACTER SET ascii NOT NULL,
  created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  KEY history (member_id, created_at, source),
  KEY status_age (status, created_at),
  CHECK (points >= 0)
);

-- The barrier of DTM's client: one row a phase of a branch, written with the phase's effect.
CREATE TABLE barrier (
  id          BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  trans_type  VARCHAR(45) CHARACTER SET ascii NOT NULL,
  gid         VARCHAR(64) CHARACTER SET ascii NOT NULL,
  branch_id   VARCHAR(64) CHARACTER SET ascii NOT NULL,
  op          VARCHAR(45) CHARACTER SET ascii NOT NULL,
  barrier_id  VARCHAR(45) CHARACTER SET ascii NOT NULL,
  reason      VARCHAR(45) CHARACTER SET ascii NOT NULL DEFAULT '',
  create_time DATETIME    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY uniq_barrier (gid, branch_id, op, barrier_id),
  KEY create_time (create_time)
);
