-- name: ScanOrders :many
SELECT id, status, gid, points, event_seq FROM orders FORCE INDEX (PRIMARY) WHERE id > sqlc.arg('after') ORDER BY id LIMIT ?;

-- name: ScanLines :many
SELECT order_id, sku, quantity FROM order_line
WHERE order_id > sqlc.arg('after') AND order_id <= sqlc.arg('last') ORDER BY order_id, sku;

-- name: ScanAttempts :many
SELECT order_id, gid, kind, state FROM payment_attempt
WHERE order_id > sqlc.arg('after') AND order_id <= sqlc.arg('last') ORDER BY order_id, no;

-- name: SumEvents :one
SELECT COUNT(*) AS events, CAST(COALESCE(BIT_XOR(CRC32(CONCAT(order_id, '|', seq))), 0) AS SIGNED) AS numbers FROM order_event
WHERE order_id > sqlc.arg('after') AND order_id <= sqlc.arg('last');

-- name: ScanEvents :many
SELECT order_id, COUNT(*) AS events, CAST(MAX(seq) AS SIGNED) AS last_seq FROM order_event
WHERE order_id > sqlc.arg('after') AND order_id <= sqlc.arg('last') GROUP BY order_id ORDER BY order_id;

-- name: CountHeld :one
SELECT COUNT(*) FROM orders WHERE status IN ('UPDATING', 'REFUNDING');

-- name: ListHeld :many
SELECT id, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds FROM orders
WHERE status IN ('UPDATING', 'REFUNDING') AND TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) >= CAST(sqlc.arg('open_seconds') AS SIGNED)
ORDER BY updated_at, id LIMIT ?;

-- name: CountOpenAttempts :one
SELECT COUNT(*) FROM payment_attempt WHERE state = 'OPEN';

-- name: ListOpenAttempts :many
SELECT order_id, gid, kind, TIMESTAMPDIFF(SECOND, created_at, NOW(3)) AS age_seconds FROM payment_attempt
WHERE state = 'OPEN' AND TIMESTAMPDIFF(SECOND, created_at, NOW(3)) >= CAST(sqlc.arg('open_seconds') AS SIGNED)
ORDER BY created_at, order_id LIMIT ?;

-- name: OrdersOfBuckets :many
SELECT id, status, gid, points, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds FROM orders WHERE bucket IN (sqlc.slice('buckets')) ORDER BY id;

-- name: LinesOfBuckets :many
SELECT l.order_id, l.sku, l.quantity FROM orders o JOIN order_line l ON l.order_id = o.id
WHERE o.bucket IN (sqlc.slice('buckets')) ORDER BY l.order_id, l.sku;

-- name: OrdersOfIDs :many
SELECT id, status, gid, points, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds FROM orders WHERE id IN (sqlc.slice('ids')) ORDER BY id;

-- name: LinesOfIDs :many
SELECT order_id, sku, quantity FROM order_line WHERE order_id IN (sqlc.slice('ids')) ORDER BY order_id, sku;

-- name: ClaimCheck :execrows
UPDATE conservation SET began_at = NOW(3)
WHERE id = 1 AND TIMESTAMPDIFF(MICROSECOND, began_at, NOW(3)) >= CAST(sqlc.arg('every_us') AS SIGNED);

-- name: KeepCheck :exec
UPDATE conservation SET finished_at = NOW(3), took_ms = ?, violations = ? WHERE id = 1;

-- name: LastCheck :one
SELECT finished_at, took_ms, violations FROM conservation WHERE id = 1;
