-- +goose Up
-- Problems that a person must look at, while they last.
CREATE TABLE alert (
  name       VARBINARY(200) NOT NULL PRIMARY KEY,
  -- How often operators were told, since when the problem lasts, and from when on they may be told again.
  times      INT            NOT NULL DEFAULT 0,
  since      DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  next_at    DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- When it was over; the next Raise tells at once.
  cleared_at DATETIME(3)    NULL,
  KEY cleared (cleared_at)
) DEFAULT CHARSET = utf8mb4;
