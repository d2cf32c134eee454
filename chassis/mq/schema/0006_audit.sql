-- +goose Up
-- What a group knows about the events of one publisher: whether all that was sent has come.
CREATE TABLE mq_audit (
  grp         VARBINARY(64)  NOT NULL,
  publisher   VARBINARY(64)  NOT NULL,
  topic       VARBINARY(127) NOT NULL,
  -- When an instance may compare next.
  next_at     DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- What the group wants, and since when: events from before are not missing.
  wanted      VARBINARY(64)  NOT NULL,
  wanted_at   DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- When nothing was missing last of what was sent lately. NULL if never.
  complete_at DATETIME(3)    NULL,
  -- Up to where all that is kept has been compared once more, an hour at a time. NULL to begin with the oldest.
  reviewed_to DATETIME(3)    NULL,
  -- How many events were compared the last time.
  events      BIGINT         NOT NULL DEFAULT 0,
  -- How many events were missing and sent again, ever, and when the last ones.
  resent      BIGINT         NOT NULL DEFAULT 0,
  resent_at   DATETIME(3)    NULL,
  -- Why the last comparison did not come to an end.
  last_error  VARCHAR(500)   NOT NULL DEFAULT '',
  PRIMARY KEY (grp, publisher)
) DEFAULT CHARSET = utf8mb4;
