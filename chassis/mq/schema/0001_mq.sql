-- +goose Up
-- The tables that a service which publishes or consumes needs in its own database.

-- Events to be sent, written in the local transaction that made them true. A check-back asks for event_id.
CREATE TABLE mq_outbox (
  id         BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
  event_id   VARBINARY(64)  NOT NULL,
  topic      VARBINARY(127) NOT NULL,
  subject    VARBINARY(128) NOT NULL,
  event      MEDIUMBLOB     NOT NULL,
  -- When the broker must deliver it, at once when NULL.
  deliver_at DATETIME(3)    NULL,
  -- READY: for the relay. HALF: the broker has it as a half message; the relay's too when next_at is past. SENT: the broker has it; READY once
  -- more by a resend. VOID: a tombstone; its local transaction did not come in time and cannot come any more.
  state      VARBINARY(8)   NOT NULL,
  created_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- When it was written as HALF, if it was.
  half_at    DATETIME(3)    NULL,
  -- How often a relay took it, which relay did last, and when the next may: after the lease or the pause.
  tries      INT            NOT NULL DEFAULT 0,
  owner      VARBINARY(36)  NOT NULL DEFAULT '',
  next_at    DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  last_error VARCHAR(500)   NOT NULL DEFAULT '',
  -- When it became SENT or VOID.
  closed_at  DATETIME(3)    NULL,
  UNIQUE KEY event_id (event_id),
  KEY due (state, next_at),
  KEY of_subject (state, topic, subject, id),
  -- For the trace of an order.
  KEY by_subject (subject, id),
  KEY closed (closed_at)
) DEFAULT CHARSET = utf8mb4;

-- Events that a group has taken, written in the local transaction of their effect.
CREATE TABLE mq_inbox (
  id         BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
  grp        VARBINARY(64)  NOT NULL,
  source     VARBINARY(128) NOT NULL,
  event_id   VARBINARY(64)  NOT NULL,
  topic      VARBINARY(127) NOT NULL,
  type       VARBINARY(64)  NOT NULL,
  subject    VARBINARY(128) NOT NULL,
  seq        BIGINT         NOT NULL,
  -- DONE: it had its effect. OLD: dropped, because a newer event of its subject had its effect before. WAITING: until next_at. DEAD: given up.
  state      VARBINARY(8)   NOT NULL,
  -- The event, while it is WAITING or DEAD.
  event      MEDIUMBLOB     NULL,
  -- Failures that count, and waits that do not.
  tries      INT            NOT NULL DEFAULT 0,
  waits      INT            NOT NULL DEFAULT 0,
  next_at    DATETIME(3)    NULL,
  last_error VARCHAR(2000)  NOT NULL DEFAULT '',
  -- One line for each failure, oldest first.
  history    TEXT           NULL,
  created_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- When it became DONE or OLD, or was delivered again hours after that.
  closed_at  DATETIME(3)    NULL,
  -- Begins with event_id, by which a trace is asked for.
  UNIQUE KEY event (event_id, source, grp),
  KEY due (state, grp, next_at),
  KEY of_subject (grp, source, subject, seq),
  -- For the trace of an order.
  KEY by_subject (subject, id),
  KEY closed (closed_at)
) DEFAULT CHARSET = utf8mb4;

-- The last sequence number of a subject that had its effect in a group.
CREATE TABLE mq_position (
  grp        VARBINARY(64)  NOT NULL,
  source     VARBINARY(128) NOT NULL,
  subject    VARBINARY(128) NOT NULL,
  seq        BIGINT         NOT NULL,
  updated_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  PRIMARY KEY (grp, source, subject)
) DEFAULT CHARSET = utf8mb4;

-- What must be done later. The row decides; an event that wakes it only makes a process look.
CREATE TABLE mq_timer (
  id         VARBINARY(128) NOT NULL PRIMARY KEY,
  due_at     DATETIME(3)    NOT NULL,
  event      MEDIUMBLOB     NOT NULL,
  -- The id of the event that wakes it; the inbox shows what became of that.
  wake       VARBINARY(64)  NOT NULL,
  -- ARMED, FIRED (it had its effect) or CANCELED.
  state      VARBINARY(8)   NOT NULL,
  created_at DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  closed_at  DATETIME(3)    NULL,
  UNIQUE KEY wake (wake),
  KEY due (state, due_at),
  KEY closed (closed_at)
) DEFAULT CHARSET = utf8mb4;
