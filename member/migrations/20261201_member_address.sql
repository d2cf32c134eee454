-- +goose Up
-- The addresses from which a member signed in last, as keyed hashes.
CREATE TABLE member_address (
  member_id CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  address   CHAR(43)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  seen_at   DATETIME(3) NOT NULL,
  PRIMARY KEY (member_id, address)
);
