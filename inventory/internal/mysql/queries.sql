-- name: InsertProduct :exec
INSERT INTO product (sku, name, price_cents) VALUES (?, ?, ?);

-- name: InsertStock :exec
INSERT INTO stock (sku) VALUES (?);

-- name: LockProduct :one
SELECT name, price_cents, version, version_base FROM product WHERE sku = ? FOR UPDATE;

-- name: ChangeProduct :execrows
UPDATE product SET name = sqlc.arg('name'), price_cents = sqlc.arg('price_cents'), version = version + 1
WHERE sku = sqlc.arg('sku') AND version = sqlc.arg('from_version');

-- name: GetProduct :one
SELECT p.sku, p.name, p.price_cents, s.sellable FROM product p JOIN stock s ON s.sku = p.sku WHERE p.sku = ?;

-- name: PriceProducts :many
SELECT p.sku, p.name, p.price_cents, s.sellable FROM product p JOIN stock s ON s.sku = p.sku
WHERE p.sku IN (sqlc.slice('skus')) ORDER BY p.sku;

-- name: ListProducts :many
SELECT p.sku, p.name, p.price_cents, s.sellable FROM product p JOIN stock s ON s.sku = p.sku
WHERE p.sku > sqlc.arg('after')
  AND (p.name LIKE sqlc.arg('pattern') OR p.sku COLLATE utf8mb4_unicode_520_ci LIKE sqlc.arg('pattern'))
ORDER BY p.sku LIMIT ?;

-- name: GetStock :one
SELECT sku, sellable, frozen, sold, received FROM stock WHERE sku = ?;

-- name: ReceiveStock :execrows
UPDATE stock SET sellable = sellable + sqlc.arg('quantity'), received = received + sqlc.arg('quantity') WHERE sku = sqlc.arg('sku');

-- name: ReturnStock :execrows
UPDATE stock SET sold = sold - sqlc.arg('quantity'), sellable = sellable + sqlc.arg('quantity')
WHERE sku = sqlc.arg('sku') AND sold >= sqlc.arg('quantity');

-- name: BeginReturn :execrows
UPDATE stock_freeze FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status'), refund_gid = sqlc.arg('refund_gid')
WHERE order_id = ? AND status = sqlc.arg('from_status');

-- name: MoveReturns :execrows
UPDATE stock_freeze FORCE INDEX (PRIMARY) SET status = sqlc.arg('to_status')
WHERE order_id = ? AND refund_gid = ? AND status = sqlc.arg('from_status');

-- name: ListReturns :many
SELECT sku, quantity FROM stock_freeze WHERE order_id = ? AND refund_gid = ? AND status = ? ORDER BY sku;
