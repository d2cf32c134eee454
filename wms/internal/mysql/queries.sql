-- name: GetOpen :one
-- The shared lock lasts to the end of the transaction: whoever closes the warehouse waits for every Try that read it open.
SELECT open FROM warehouse WHERE id = 1 LOCK IN SHARE MODE;

-- name: SetOpen :execrows
UPDATE warehouse SET open = ? WHERE id = 1;

-- name: InsertSlip :exec
INSERT INTO delivery_slip (id, order_id, gid, status, address) VALUES (?, ?, ?, ?, ?);

-- name: InsertLine :exec
INSERT INTO delivery_line (slip_id, sku, quantity) VALUES (?, ?, ?);

-- name: MoveSlip :execrows
UPDATE delivery_slip SET status = sqlc.arg('to_status')
WHERE order_id = ? AND gid = ? AND status = sqlc.arg('from_status');

-- name: ListSlips :many
SELECT id, order_id, status, address, created_at FROM delivery_slip
WHERE id < sqlc.arg('before') AND status <> sqlc.arg('hidden')
  AND (sqlc.arg('status') = '' OR status = sqlc.arg('status'))
  AND (sqlc.arg('order_id') = '' OR order_id = sqlc.arg('order_id'))
ORDER BY id DESC LIMIT ?;

-- name: ListLines :many
SELECT slip_id, sku, quantity FROM delivery_line WHERE slip_id IN (sqlc.slice('slip_ids')) ORDER BY slip_id, sku;

-- name: HoldSlip :execrows
UPDATE delivery_slip SET status = sqlc.arg('to_status'), refund_gid = sqlc.arg('refund_gid')
WHERE order_id = ? AND status = sqlc.arg('from_status');

-- name: MoveHeld :execrows
UPDATE delivery_slip SET status = sqlc.arg('to_status')
WHERE order_id = ? AND refund_gid = ? AND status = sqlc.arg('from_status');

-- name: GetStatus :one
SELECT status FROM delivery_slip WHERE order_id = ?;

-- name: LockSlip :one
SELECT id, order_id, status, address, created_at FROM delivery_slip WHERE id = ? FOR UPDATE;

-- name: WorkSlip :execrows
UPDATE delivery_slip SET status = sqlc.arg('to_status') WHERE id = ? AND status = sqlc.arg('from_status');

-- name: CountEvent :exec
UPDATE delivery_slip SET event_seq = event_seq + 1 WHERE id = ?;

-- name: InsertEvent :exec
INSERT INTO outbox (event_id, event_type, order_id, seq)
SELECT sqlc.arg('event_id'), sqlc.arg('event_type'), s.order_id, s.event_seq FROM delivery_slip s WHERE s.id = sqlc.arg('slip_id');

-- name: DueEvents :many
-- Of each order the first that is not delivered. It stays the first: a later one is only seen together with those before it.
SELECT o.id FROM outbox o
WHERE o.delivered_at IS NULL AND o.next_at <= NOW(3)
  AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.order_id = o.order_id AND e.seq < o.seq AND e.delivered_at IS NULL)
ORDER BY o.next_at, o.id LIMIT ?;

-- name: LeaseEvents :execrows
UPDATE outbox SET lease_owner = sqlc.arg('owner'), attempts = attempts + 1,
  next_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('lease_us') AS SIGNED), NOW(3))
WHERE id IN (sqlc.slice('ids')) AND delivered_at IS NULL AND next_at <= NOW(3);

-- name: ListLeased :many
SELECT id, event_id, event_type, order_id, seq, attempts, TIMESTAMPDIFF(SECOND, created_at, NOW(3)) AS age_seconds FROM outbox
WHERE id IN (sqlc.slice('ids')) AND lease_owner = sqlc.arg('owner') AND delivered_at IS NULL ORDER BY id;

-- name: MarkDelivered :execrows
UPDATE outbox SET delivered_at = NOW(3) WHERE id = ? AND delivered_at IS NULL;

-- name: PostponeEvent :execrows
UPDATE outbox SET next_at = TIMESTAMPADD(MICROSECOND, CAST(sqlc.arg('pause_us') AS SIGNED), NOW(3))
WHERE id = ? AND lease_owner = sqlc.arg('owner') AND delivered_at IS NULL;
