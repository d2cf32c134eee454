-- +goose Up
-- What may still be done so often: one row a subject, which is a keyed hash, as the rows of logins that nobody has look like the others.
-- whole_at is when the allowance is whole again; a row that is past it says nothing and may be deleted.
CREATE TABLE allowance (
  subject  CHAR(43)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  whole_at DATETIME(6) NOT NULL,
  KEY whole_at (whole_at)
);
