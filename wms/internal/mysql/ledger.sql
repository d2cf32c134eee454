-- name: CountByStatus :many
-- Byte by byte: a collation would take a status in small letters or with a blank behind it for the same.
SELECT status, COUNT(*) AS slips FROM delivery_slip GROUP BY status, CAST(status AS BINARY);

-- name: ListByStatus :many
SELECT order_id FROM delivery_slip WHERE CAST(status AS BINARY) = CAST(sqlc.arg('status') AS BINARY) ORDER BY id LIMIT ?;

-- name: SumSlips :one
SELECT COUNT(*) AS slips, CAST(COALESCE(BIT_XOR(CRC32(id)), 0) AS SIGNED) AS ids FROM delivery_slip;

-- name: SumSlipsWithLines :one
SELECT COUNT(*) AS slips, CAST(COALESCE(BIT_XOR(CRC32(l.slip_id)), 0) AS SIGNED) AS ids
FROM (SELECT DISTINCT slip_id FROM delivery_line) l;

-- name: ScanSlips :many
SELECT id FROM delivery_slip FORCE INDEX (PRIMARY) WHERE id > sqlc.arg('after') ORDER BY id LIMIT ?;

-- name: ListByID :many
SELECT id, order_id, status FROM delivery_slip WHERE id IN (sqlc.slice('ids')) ORDER BY id;

-- name: ScanLines :many
SELECT DISTINCT slip_id FROM delivery_line WHERE slip_id > sqlc.arg('after') AND slip_id <= sqlc.arg('last') ORDER BY slip_id;

-- name: CountOpen :one
SELECT COUNT(*) FROM delivery_slip WHERE status IN ('UNKNOWN', 'HELD');

-- name: ListOpen :many
SELECT order_id, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds FROM delivery_slip
WHERE status IN ('UNKNOWN', 'HELD') AND TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) >= CAST(sqlc.arg('open_seconds') AS SIGNED)
ORDER BY updated_at, order_id LIMIT ?;

-- name: DigestLedger :many
-- Read through: by the index on bucket each row would be fetched on its own.
SELECT bucket, COUNT(*) AS facts,
  CAST(BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT(order_id, '|', IF(status IN ('SHIPPED', 'DELIVERED'), status, '')), 256), 16), 16, 10)
    AS UNSIGNED)) AS SIGNED) AS digest
FROM delivery_slip FORCE INDEX (PRIMARY) WHERE status IN ('CREATED', 'PICKED', 'SHIPPED', 'DELIVERED', 'HELD') GROUP BY bucket;

-- name: FactsOfBuckets :many
SELECT order_id, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds
FROM delivery_slip WHERE bucket IN (sqlc.slice('buckets')) ORDER BY order_id;

-- name: FactsOfOrders :many
SELECT order_id, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds
FROM delivery_slip WHERE order_id IN (sqlc.slice('order_ids')) ORDER BY order_id;
