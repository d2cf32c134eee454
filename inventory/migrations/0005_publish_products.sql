-- +goose Up
-- Who keeps a copy of the products learns of those that are there; mq_outbox is chassis/mq's and there by now.
INSERT INTO mq_outbox (event_id, topic, subject, event, state)
SELECT CONCAT('product-', MD5(p.sku)), 'inventory-events', p.sku, JSON_OBJECT(
  'specversion', '1.0', 'id', CONCAT('product-', MD5(p.sku)), 'source', '/inventory', 'type', 'product.changed', 'subject', p.sku,
  'time', DATE_FORMAT(p.created_at, '%Y-%m-%dT%H:%i:%s.%fZ'), 'sequence', '1', 'sequencetype', 'Integer',
  'data', JSON_OBJECT('sku', p.sku, 'name', p.name, 'price_cents', CAST(p.price_cents AS CHAR))), 'READY'
FROM product p ORDER BY p.sku;
