-- name: InsertMember :exec
INSERT INTO member (id, phone, email, name, role, password_hash) VALUES (?, ?, ?, ?, ?, ?);

-- name: GetMember :one
SELECT * FROM member WHERE id = ? AND closed_at IS NULL;

-- name: GetMemberByPhone :one
SELECT * FROM member WHERE phone = ?;

-- name: GetMemberByEmail :one
SELECT * FROM member WHERE email = ?;

-- name: SetPassword :execrows
UPDATE member SET password_hash = sqlc.arg('hash'), epoch = epoch + 1, ended_at = NOW(3) WHERE id = sqlc.arg('id') AND closed_at IS NULL;

-- name: Rehash :exec
UPDATE member SET password_hash = sqlc.arg('new_hash') WHERE id = sqlc.arg('id') AND password_hash = sqlc.arg('old_hash');

-- name: SetRole :execrows
UPDATE member SET role = sqlc.arg('role'), epoch = epoch + 1, ended_at = NOW(3)
WHERE id = sqlc.arg('id') AND closed_at IS NULL AND role <> sqlc.arg('role');

-- name: CloseMember :execrows
UPDATE member SET phone = NULL, email = NULL, name = '', password_hash = '', epoch = epoch + 1, ended_at = NOW(3), closed_at = NOW(3)
WHERE id = ? AND closed_at IS NULL;

-- name: ForgetAllAddresses :exec
DELETE FROM member_address WHERE member_id = ?;

-- name: ListEndings :many
SELECT id, epoch FROM member WHERE ended_at >= TIMESTAMPADD(SECOND, CAST(sqlc.arg('since_s') AS SIGNED), NOW(3));

-- name: MarkTold :execrows
UPDATE member SET told_at = NOW(3) WHERE id = ? AND (told_at IS NULL OR told_at < TIMESTAMPADD(DAY, -1, NOW(3)));

-- name: TakeAllowance :execrows
UPDATE allowance FORCE INDEX (PRIMARY)
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
