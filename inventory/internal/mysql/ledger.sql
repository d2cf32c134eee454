-- name: CountStock :one
SELECT COUNT(*) FROM stock;

-- name: CheckStock :many
SELECT sku, sellable, frozen, sold, received FROM stock
WHERE sellable + frozen + sold <> received OR sellable < 0 OR frozen < 0 OR sold < 0
ORDER BY sku LIMIT ?;

-- name: CheckLines :many
-- One statement, so that stock and lines are of the same moment. A sku may be missing on either side.
SELECT b.sku, CAST(SUM(b.frozen) AS SIGNED) AS frozen, CAST(SUM(b.held) AS SIGNED) AS held,
  CAST(SUM(b.sold) AS SIGNED) AS sold, CAST(SUM(b.taken) AS SIGNED) AS taken
FROM (
  SELECT s.sku, s.frozen, s.sold, 0 AS held, 0 AS taken FROM stock s
  UNION ALL
  SELECT f.sku, 0, 0, SUM(IF(f.status = 'FROZEN', f.quantity, 0)), SUM(IF(f.status IN ('DEDUCTED', 'RETURNING'), f.quantity, 0))
  FROM stock_freeze f GROUP BY f.sku
) b
GROUP BY b.sku HAVING SUM(b.frozen) <> SUM(b.held) OR SUM(b.sold) <> SUM(b.taken)
ORDER BY b.sku;

-- name: CountOpen :one
SELECT COUNT(*) FROM stock_freeze WHERE status IN ('FROZEN', 'RETURNING');

-- name: ListOpen :many
SELECT order_id, sku, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds FROM stock_freeze
WHERE status IN ('FROZEN', 'RETURNING') AND TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) >= CAST(sqlc.arg('open_seconds') AS SIGNED)
ORDER BY updated_at, order_id, sku LIMIT ?;

-- name: DigestLedger :many
-- Read through: by the index on bucket each row would be fetched on its own.
SELECT bucket, COUNT(*) AS facts,
  CAST(BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT(order_id, '|', sku, '|', quantity), 256), 16), 16, 10) AS UNSIGNED)) AS SIGNED) AS digest
FROM stock_freeze FORCE INDEX (PRIMARY) WHERE status IN ('DEDUCTED', 'RETURNING') GROUP BY bucket;

-- name: FactsOfBuckets :many
SELECT order_id, sku, quantity, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds
FROM stock_freeze WHERE bucket IN (sqlc.slice('buckets')) ORDER BY order_id, sku;

-- name: FactsOfOrders :many
SELECT order_id, sku, quantity, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds
FROM stock_freeze WHERE order_id IN (sqlc.slice('order_ids')) ORDER BY order_id, sku;
