-- +goose Up
-- What a person must look at, as long as it lasts.
CREATE TABLE alert (
  name       VARBINARY(200) NOT NULL PRIMARY KEY,
  -- How often operators were told, since when it lasts, and from when on they may be told again.
  times      INT            NOT NULL DEFAULT 0,
  since      DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  next_at    DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- Since when it is over; the next time is a first one.
  cleared_at DATETIME(3)    NULL,
  KEY cleared (cleared_at)
) DEFAULT CHARSET = utf8mb4;
