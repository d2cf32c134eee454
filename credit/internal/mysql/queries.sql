-- name: GetAccount :one
SELECT member_id, credit, prepare_add_credit, prepare_deduct_credit, frozen FROM credit_account WHERE member_id = ?;

-- name: OpenAccount :exec
-- Locks the row when it is there already. INSERT IGNORE would take a shared lock, and two that go on to update would wait
-- for each other.
INSERT INTO credit_account (member_id) VALUES (?) ON DUPLICATE KEY UPDATE frozen = frozen;

-- name: SetFrozen :exec
INSERT INTO credit_account (member_id, frozen) VALUES (sqlc.arg('member_id'), sqlc.arg('frozen'))
ON DUPLICATE KEY UPDATE frozen = sqlc.arg('frozen');

-- name: AddCredit :execrows
UPDATE credit_account SET credit = credit + sqlc.arg('points')
WHERE member_id = sqlc.arg('member_id') AND credit <= CAST(sqlc.arg('room') AS SIGNED) - prepare_add_credit - prepare_deduct_credit;

-- name: InsertEntry :exec
INSERT INTO credit_entry (source, member_id, gid, points, status) VALUES (?, ?, ?, ?, ?);

-- name: GetEntry :one
SELECT source, member_id, points, status, created_at FROM credit_entry WHERE source = ?;

-- name: ListEntries :many
SELECT source, member_id, points, status, created_at FROM credit_entry
WHERE member_id = sqlc.arg('member_id') AND created_at <= sqlc.arg('at')
  AND (created_at < sqlc.arg('at') OR source < sqlc.arg('before'))
ORDER BY created_at DESC, source DESC LIMIT ?;

-- name: PrepareDeduct :execrows
UPDATE credit_account SET credit = credit - sqlc.arg('points'), prepare_deduct_credit = prepare_deduct_credit + sqlc.arg('points')
WHERE member_id = sqlc.arg('member_id') AND frozen = 0 AND credit >= sqlc.arg('points');

-- name: ConfirmDeduct :execrows
UPDATE credit_account SET prepare_deduct_credit = prepare_deduct_credit - sqlc.arg('points')
WHERE member_id = sqlc.arg('member_id') AND prepare_deduct_credit >= sqlc.arg('points');

-- name: CancelDeduct :execrows
UPDATE credit_account SET prepare_deduct_credit = prepare_deduct_credit - sqlc.arg('points'), credit = credit + sqlc.arg('points')
WHERE member_id = sqlc.arg('member_id') AND prepare_deduct_credit >= sqlc.arg('points');

-- name: BeginDeduct :execrows
UPDATE credit_entry FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status'), refund_gid = sqlc.arg('refund_gid')
WHERE source = ? AND status = sqlc.arg('from_status');

-- name: MoveDeduct :execrows
UPDATE credit_entry FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status')
WHERE source = ? AND refund_gid = ? AND status = sqlc.arg('from_status');
