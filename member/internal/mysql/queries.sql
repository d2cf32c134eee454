-- name: InsertMember :exec
INSERT INTO member (id, phone, email, name, role, password_hash) VALUES (?, ?, ?, ?, ?, ?);

-- name: GetMember :one
SELECT * FROM member WHERE id = ?;

-- name: GetMemberByPhone :one
SELECT * FROM member WHERE phone = ?;

-- name: GetMemberByEmail :one
SELECT * FROM member WHERE email = ?;

-- name: TakeAllowance :execrows
UPDATE allowance
SET whole_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('each_us') AS SIGNED), GREATEST(whole_at, NOW(6)))
WHERE subject = sqlc.arg('subject') AND whole_at <= TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('most_us') AS SIGNED), NOW(6));

-- name: BeginAllowance :exec
INSERT INTO allowance (subject, whole_at)
VALUES (sqlc.arg('subject'), TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('each_us') AS SIGNED), NOW(6)));

-- name: WholeIn :one
SELECT CAST(TIMESTAMPDIFF(MICROSECOND, NOW(6), whole_at) AS SIGNED) AS whole_us FROM allowance WHERE subject = ?;

-- name: GiveBackAllowance :exec
UPDATE allowance SET whole_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('by_us') AS SIGNED), whole_at) WHERE subject = sqlc.arg('subject');

-- name: IsMemberAddress :one
SELECT EXISTS (SELECT 1 FROM member_address WHERE member_id = ? AND address = ?) AS seen;

-- name: PutMemberAddress :exec
INSERT INTO member_address (member_id, address, seen_at) VALUES (?, ?, NOW(3)) ON DUPLICATE KEY UPDATE seen_at = NOW(3);

-- name: OldestKeptAddress :one
SELECT seen_at FROM member_address WHERE member_id = ? ORDER BY seen_at DESC LIMIT 1 OFFSET ?;

-- name: ForgetMemberAddresses :exec
DELETE FROM member_address WHERE member_id = ? AND seen_at < ?;
