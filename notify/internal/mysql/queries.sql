-- name: AgeOf :one
-- By the database's clock, so that instances agree.
SELECT CAST(TIMESTAMPDIFF(MICROSECOND, sqlc.arg('at'), NOW(3)) AS SIGNED) AS age_us;

-- name: PutContact :exec
INSERT INTO contact (member_id, phone, email, name)
VALUES (sqlc.arg('member_id'), sqlc.arg('phone'), sqlc.arg('email'), sqlc.arg('name'))
ON DUPLICATE KEY UPDATE phone = sqlc.arg('phone'), email = sqlc.arg('email'), name = sqlc.arg('name');

-- name: GetContact :one
SELECT member_id, phone, email, name FROM contact WHERE member_id = ?;

-- name: InsertNotification :exec
INSERT INTO notification (id, source, event_id, event_type, channel, recipient, subject, body, state, closed_at)
VALUES (sqlc.arg('id'), sqlc.arg('source'), sqlc.arg('event_id'), sqlc.arg('event_type'), sqlc.arg('channel'), sqlc.arg('recipient'),
  sqlc.arg('subject'), sqlc.arg('body'), sqlc.arg('state'), IF(sqlc.arg('state') = 'PENDING', NULL, NOW(3)));

-- name: DueNotifications :many
SELECT id FROM notification WHERE state = 'PENDING' AND channel = ? AND next_at <= NOW(3) ORDER BY next_at, id LIMIT ?;

-- name: LeaseNotifications :execrows
UPDATE notification FORCE INDEX (PRIMARY) SET owner = sqlc.arg('owner'), tries = tries + 1,
  next_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('lease_us') AS SIGNED), NOW(3))
WHERE id IN (sqlc.slice('ids')) AND state = 'PENDING' AND next_at <= NOW(3);

-- name: ListLeased :many
SELECT id, channel, recipient, subject, body, tries, unanswered, event_type, created_at,
  CAST(TIMESTAMPDIFF(MICROSECOND, created_at, NOW(3)) AS SIGNED) AS age_us
FROM notification WHERE id IN (sqlc.slice('ids')) AND owner = sqlc.arg('owner') AND state = 'PENDING' ORDER BY id;

-- name: RenewLease :execrows
UPDATE notification FORCE INDEX (PRIMARY) SET next_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('lease_us') AS SIGNED), NOW(3))
WHERE id = sqlc.arg('id') AND owner = sqlc.arg('owner') AND state = 'PENDING';

-- name: PostponeNotification :execrows
-- Nobody is the owner any more: a renewal that is under way must not shorten the pause.
UPDATE notification FORCE INDEX (PRIMARY) SET next_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('pause_us') AS SIGNED), NOW(3)), last_error = sqlc.arg('last_error'),
  owner = '', unanswered = unanswered + CAST(sqlc.arg('unanswered') AS SIGNED)
WHERE id = sqlc.arg('id') AND owner = sqlc.arg('owner') AND state = 'PENDING';

-- name: ListNotifications :many
SELECT id, channel, recipient, subject, body, state, tries, last_error, source, event_id, event_type, created_at, closed_at
FROM notification
WHERE id < sqlc.arg('before') AND (sqlc.arg('recipient') = '' OR recipient = sqlc.arg('recipient'))
  AND (sqlc.arg('event_id') = '' OR event_id = sqlc.arg('event_id')) AND (sqlc.arg('state') = '' OR state = sqlc.arg('state'))
ORDER BY id DESC LIMIT ?;

-- name: ListInbox :many
SELECT id, no, channel, recipient, subject, body, received_at FROM inbox
WHERE no < sqlc.arg('before') AND (sqlc.arg('recipient') = '' OR recipient = sqlc.arg('recipient'))
ORDER BY no DESC LIMIT ?;

-- name: CountFailing :one
SELECT
  (SELECT COUNT(*) FROM notification f WHERE f.state = 'FAILED' AND f.channel = sqlc.arg('channel')
    AND f.closed_at >= TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('span_us') AS SIGNED), NOW(3))) AS failed,
  (SELECT COUNT(*) FROM notification p WHERE p.state = 'PENDING' AND p.channel = sqlc.arg('channel')
    AND p.created_at < TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('patience_us') AS SIGNED), NOW(3))) AS late;

-- name: BeginSMSDay :exec
INSERT INTO sms_spent (day, country, spent) VALUES (UTC_DATE(), ?, 0) ON DUPLICATE KEY UPDATE spent = spent;

-- name: SpendSMS :execrows
UPDATE sms_spent SET spent = spent + 1 WHERE day = UTC_DATE() AND country = sqlc.arg('country') AND spent < sqlc.arg('budget');

-- name: UnspendSMS :exec
UPDATE sms_spent SET spent = spent - 1 WHERE day = UTC_DATE() AND country = ?;

-- name: DropSMS :exec
UPDATE sms_spent SET dropped = dropped + 1 WHERE day = UTC_DATE() AND country = ?;

-- name: ListSMSSpent :many
SELECT country, spent, dropped FROM sms_spent WHERE day = UTC_DATE() ORDER BY country;
