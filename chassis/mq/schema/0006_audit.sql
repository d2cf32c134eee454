-- +goose Up
-- What a group knows about the events of one publisher: whether all that was sent has come.
CREATE TABLE mq_audit (
  grp         VARBINARY(64)  NOT NULL,
  publisher   VARBINARY(64)  NOT NULL,
  topic       VARBINARY(127) NOT NULL,
  -- When an instance may compare next.
  next_at     DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- When nothing was missing last, of what was sent lately and of all that is kept. NULL if never.
  complete_at DATETIME(3)    NULL,
  whole_at    DATETIME(3)    NULL,
  -- How many events were compared the last time.
  events      BIGINT         NOT NULL DEFAULT 0,
  -- How many events were missing and sent again, ever, and when the last ones.
  resent      BIGINT         NOT NULL DEFAULT 0,
  resent_at   DATETIME(3)    NULL,
  -- Why the last comparison did not come to an end.
  last_error  VARCHAR(500)   NOT NULL DEFAULT '',
  PRIMARY KEY (grp, publisher)
) DEFAULT CHARSET = utf8mb4;
