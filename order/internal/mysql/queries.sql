-- name: InsertOrder :exec
INSERT INTO orders (id, member_id, status, total_cents, points, address, created_at, expires_at, event_seq)
VALUES (sqlc.arg('id'), sqlc.arg('member_id'), sqlc.arg('status'), sqlc.arg('total_cents'), sqlc.arg('points'),
  sqlc.arg('address'), NOW(3), TIMESTAMPADD(SECOND, sqlc.arg('ttl_seconds'), NOW(3)), 0);

-- name: LockBuyer :exec
INSERT INTO buyer (member_id) VALUES (?) ON DUPLICATE KEY UPDATE member_id = member_id;

-- name: CountOpenOrders :one
SELECT COUNT(*) FROM orders
WHERE member_id = sqlc.arg('member_id') AND id >= sqlc.arg('since') AND status IN ('CREATED', 'UPDATING') AND expires_at > NOW(3);

-- name: InsertLine :exec
INSERT INTO order_line (order_id, sku, name, price_cents, quantity) VALUES (?, ?, ?, ?, ?);

-- name: GetOrder :one
SELECT id, member_id, status, reason, gid, total_cents, points, address, created_at, expires_at, paid_at, event_seq
FROM orders WHERE id = ? AND member_id = ?;

-- name: LockOrder :one
SELECT id, member_id, status, reason, gid, expires_at <= NOW(3) AS expired FROM orders WHERE id = ? FOR UPDATE;

-- name: LockFreeOrder :one
SELECT id, member_id, status, expires_at <= NOW(3) AS expired FROM orders WHERE id = ? FOR UPDATE SKIP LOCKED;

-- name: GetState :one
SELECT o.status, o.reason, o.gid, o.expires_at <= NOW(3) AS expired, EXISTS (SELECT 1 FROM payment_attempt a WHERE a.open_order = o.id) AS busy
FROM orders o WHERE o.id = ?;

-- name: ListLines :many
SELECT order_id, sku, name, price_cents, quantity FROM order_line
WHERE order_id IN (sqlc.slice('order_ids')) ORDER BY order_id, sku;

-- name: ListOrders :many
SELECT id, member_id, status, reason, gid, total_cents, points, address, created_at, expires_at, paid_at, event_seq
FROM orders WHERE member_id = ? AND id < sqlc.arg('before') ORDER BY id DESC LIMIT ?;

-- name: CloseOrder :execrows
UPDATE orders FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status'), reason = sqlc.arg('reason')
WHERE id = sqlc.arg('id') AND member_id = sqlc.arg('member_id') AND status = sqlc.arg('from_status');

-- name: CountEvent :exec
UPDATE orders SET event_seq = event_seq + 1 WHERE id = ?;

-- name: InsertEvent :exec
INSERT INTO order_event (event_id, event_type, order_id, seq)
SELECT sqlc.arg('event_id'), sqlc.arg('event_type'), o.id, o.event_seq FROM orders o WHERE o.id = sqlc.arg('order_id');

-- name: GetChange :one
SELECT member_id, status, reason, total_cents, points, CAST(event_seq - event_base AS SIGNED) AS number FROM orders WHERE id = ?;

-- name: HasOpenAttempt :one
SELECT EXISTS (SELECT 1 FROM payment_attempt WHERE open_order = ?);

-- name: GetLastAttempt :one
SELECT state, reason FROM payment_attempt WHERE order_id = ? AND kind = ? ORDER BY no DESC LIMIT 1;

-- name: MoveAttempt :execrows
UPDATE payment_attempt FORCE INDEX (gid) SET state = sqlc.arg('to_state') WHERE gid = sqlc.arg('gid') AND state = sqlc.arg('from_state');

-- name: SetReason :execrows
UPDATE payment_attempt FORCE INDEX (gid) SET reason = sqlc.arg('reason') WHERE gid = sqlc.arg('gid') AND state = sqlc.arg('state') AND reason = '';

-- name: ListOverdue :many
-- Skips what somebody holds: one stuck transaction must not keep the sweeper from all others. Those looked at longest ago
-- come first, so that attempts that cannot be helped do not starve the rest. A lease is no look: the sweep may end before.
SELECT order_id, gid, kind, TIMESTAMPDIFF(SECOND, created_at, NOW(3)) AS age_seconds FROM payment_attempt
WHERE state = sqlc.arg('state') AND created_at <= TIMESTAMPADD(SECOND, sqlc.arg('minus_age_seconds'), NOW(3))
  AND (lease_until IS NULL OR lease_until < NOW(3))
ORDER BY COALESCE(looked_at, created_at), created_at LIMIT ? FOR UPDATE SKIP LOCKED;

-- name: LeaseAttempts :exec
UPDATE payment_attempt SET lease_until = TIMESTAMPADD(SECOND, sqlc.arg('lease_seconds'), NOW(3)) WHERE gid IN (sqlc.slice('gids'));

-- name: LookAtAttempt :exec
UPDATE payment_attempt SET looked_at = NOW(3) WHERE gid = ?;

-- name: CountOpenByAge :many
SELECT kind, CAST(INTERVAL(TIMESTAMPDIFF(SECOND, created_at, NOW(3)), 2, 15, 60, 600) AS SIGNED) AS class, COUNT(*) AS attempts
FROM payment_attempt WHERE state = sqlc.arg('state') GROUP BY kind, class;

-- name: GetAttemptState :one
SELECT o.status, o.gid, a.state FROM payment_attempt a JOIN orders o ON o.id = a.order_id WHERE a.gid = sqlc.arg('gid');

-- name: MoveOrder :execrows
UPDATE orders FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status') WHERE id = sqlc.arg('id') AND status = sqlc.arg('from_status');

-- name: LockProduct :one
SELECT version, generation FROM product WHERE sku = ? FOR UPDATE;

-- name: InsertProduct :exec
INSERT INTO product (sku, name, price_cents, version, generation) VALUES (?, ?, ?, ?, ?);

-- name: UpdateProduct :exec
UPDATE product SET name = ?, price_cents = ?, version = ?, generation = ? WHERE sku = ?;

-- name: ListProducts :many
SELECT sku, name, price_cents, version FROM product WHERE sku IN (sqlc.slice('skus'));

-- name: GetOpenAttempt :one
SELECT a.gid, a.kind, o.status, o.member_id, o.gid = a.gid AS holds, TIMESTAMPDIFF(SECOND, a.created_at, NOW(3)) AS age_seconds
FROM payment_attempt a JOIN orders o ON o.id = a.order_id WHERE a.open_order = ?;
