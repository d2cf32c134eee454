-- +goose Up
-- Ids are compared byte by byte: another case or a blank at the end makes another id. They are VARBINARY, because the binary collations
-- that MariaDB and MySQL share ignore blanks at the end.

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

-- What a member got points for: an order or an event. The states are in internal/account.
CREATE TABLE credit_entry (
  source     VARBINARY(64) NOT NULL PRIMARY KEY,
  member_id  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- The payment's transaction; empty for an entry that no transaction made.
  gid        VARBINARY(64) NOT NULL,
  points     BIGINT        NOT NULL,
  status     VARCHAR(16) CHARACTER SET ascii NOT NULL,
  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  -- The refund that holds the entry or held it last, else empty.
  refund_gid VARBINARY(64) NOT NULL DEFAULT '',
  -- The part of the books' digest that the row belongs to (chassis/ledger), so that a part that differs can be read on its own.
  bucket     SMALLINT UNSIGNED GENERATED ALWAYS AS (CRC32(source) & 4095) STORED,
  KEY history (member_id, created_at, source),
  KEY status_age (status, created_at),
  KEY bucket (bucket),
  CHECK (points >= 0)
);

-- The barrier of DTM's client: one row a phase of a branch, written with the phase's effect.
CREATE TABLE barrier (
  id          BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
  trans_type  VARBINARY(45) NOT NULL,
  gid         VARBINARY(64) NOT NULL,
  branch_id   VARBINARY(64) NOT NULL,
  op          VARBINARY(45) NOT NULL,
  barrier_id  VARBINARY(45) NOT NULL,
  reason      VARBINARY(45) NOT NULL DEFAULT '',
  create_time DATETIME      NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY uniq_barrier (gid, branch_id, op, barrier_id),
  KEY create_time (create_time)
);
