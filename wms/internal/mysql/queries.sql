-- name: GetOpen :one
-- The shared lock lasts to the end of the transaction: whoever closes the warehouse waits for every Try that read it open.
SELECT open FROM warehouse WHERE id = 1 LOCK IN SHARE MODE;

-- name: SetOpen :execrows
UPDATE warehouse SET open = ? WHERE id = 1;

-- name: ListSlips :many
SELECT id, order_id, status, address, created_at FROM delivery_slip
WHERE id < sqlc.arg('before') AND status <> sqlc.arg('hidden')
  AND (sqlc.arg('status') = '' OR status = sqlc.arg('status'))
  AND (sqlc.arg('order_id') = '' OR order_id = sqlc.arg('order_id'))
ORDER BY id DESC LIMIT ?;

-- name: ListLines :many
SELECT slip_id, sku, quantity FROM delivery_line WHERE slip_id IN (sqlc.slice('slip_ids')) ORDER BY slip_id, sku;

-- name: HoldSlip :execrows
UPDATE delivery_slip FORCE INDEX (uniq_order) SET status = sqlc.arg('to_status'), refund_gid = sqlc.arg('refund_gid')
WHERE order_id = ? AND status = sqlc.arg('from_status');

-- name: MoveHeld :execrows
UPDATE delivery_slip FORCE INDEX (uniq_order) SET status = sqlc.arg('to_status')
WHERE order_id = ? AND refund_gid = ? AND status = sqlc.arg('from_status');

-- name: GetStatus :one
SELECT status FROM delivery_slip WHERE order_id = ?;

-- name: LockSlip :one
SELECT id, order_id, status, address, created_at FROM delivery_slip WHERE id = ? FOR UPDATE;

-- name: WorkSlip :execrows
UPDATE delivery_slip FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status') WHERE id = ? AND status = sqlc.arg('from_status');

-- name: CountEvent :exec
UPDATE delivery_slip SET event_seq = event_seq + 1 WHERE id = ?;

-- name: GetEventNumber :one
SELECT CAST(event_seq - event_base AS SIGNED) AS number FROM delivery_slip WHERE id = ?;
