-- +goose Up
-- Where members are reached: a copy, from member.registered.
CREATE TABLE contact (
  member_id  VARBINARY(64)  NOT NULL PRIMARY KEY,
  phone      VARBINARY(32)  NOT NULL,
  email      VARBINARY(254) NOT NULL,
  name       VARCHAR(100)   NOT NULL,
  updated_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4;

-- What is or was to be sent, written in the local transaction in which its event was taken. The states are in internal/notification.
CREATE TABLE notification (
  -- UUIDv7: sorts by age. It is also the key under which the provider knows it.
  id         VARBINARY(36)  NOT NULL PRIMARY KEY,
  source     VARBINARY(128) NOT NULL,
  event_id   VARBINARY(64)  NOT NULL,
  event_type VARBINARY(64)  NOT NULL,
  channel    VARBINARY(8)   NOT NULL,
  recipient  VARBINARY(254) NOT NULL,
  subject    VARCHAR(255)   NOT NULL,
  body       TEXT           NOT NULL,
  state      VARBINARY(8)   NOT NULL,
  created_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- How often a sender took it, which did last, and when the next may: when the lease or the pause is over.
  tries      INT            NOT NULL DEFAULT 0,
  owner      VARBINARY(36)  NOT NULL DEFAULT '',
  next_at    DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  last_error VARCHAR(500)   NOT NULL DEFAULT '',
  -- Since when it is not PENDING any more.
  closed_at  DATETIME(3)    NULL,
  -- An event is told once, on a channel to a recipient.
  UNIQUE KEY told (source, event_id, channel, recipient),
  KEY due (state, channel, next_at),
  KEY of_event (event_id),
  KEY of_recipient (recipient, id),
  KEY closed (closed_at)
) DEFAULT CHARSET = utf8mb4;

-- What the demo's provider was given: one row a notification, however often it was sent.
CREATE TABLE inbox (
  id          VARBINARY(36)  NOT NULL PRIMARY KEY,
  -- Counts arrivals.
  no          BIGINT         NOT NULL AUTO_INCREMENT,
  channel     VARBINARY(8)   NOT NULL,
  recipient   VARBINARY(254) NOT NULL,
  subject     VARCHAR(255)   NOT NULL,
  body        TEXT           NOT NULL,
  received_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  UNIQUE KEY no (no),
  KEY of_recipient (recipient, no),
  KEY received (received_at)
) DEFAULT CHARSET = utf8mb4;
