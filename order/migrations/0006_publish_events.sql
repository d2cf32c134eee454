-- +goose Up
-- mq_outbox, which is chassis/mq's and there by now, gets the events of all orders, which nobody was told of so far. They are numbered
-- without gaps, so each order's are complete. One statement, in a migration of its own: who is killed in it begins anew.
INSERT INTO mq_outbox (event_id, topic, subject, event, state)
SELECT e.event_id, 'order-events', e.order_id, JSON_OBJECT(
  'specversion', '1.0', 'id', CONVERT(e.event_id USING utf8mb4), 'source', '/order', 'type', e.event_type,
  'subject', CONVERT(e.order_id USING utf8mb4),
  'time', DATE_FORMAT(e.created_at, '%Y-%m-%dT%H:%i:%s.%fZ'),
  'sequence', CAST(e.seq AS CHAR), 'sequencetype', 'Integer',
  'data', JSON_OBJECT(
    'order_id', CONVERT(e.order_id USING utf8mb4), 'member_id', o.member_id,
    'status', CASE e.event_type WHEN 'order.created' THEN 'CREATED' WHEN 'order.paid' THEN 'PAID' WHEN 'order.canceled' THEN 'CANCELED'
      WHEN 'order.shipped' THEN 'SHIPPED' WHEN 'order.completed' THEN 'COMPLETED' WHEN 'order.refunded' THEN 'REFUNDED' ELSE o.status END,
    'reason', IF(e.event_type = 'order.canceled', o.reason, ''),
    'total_cents', CAST(o.total_cents AS CHAR), 'points', CAST(o.points AS CHAR),
    'lines', JSON_EXTRACT((SELECT JSON_ARRAYAGG(JSON_OBJECT('sku', l.sku, 'name', l.name,
      'quantity', CAST(l.quantity AS CHAR), 'price_cents', CAST(l.price_cents AS CHAR))) FROM order_line l WHERE l.order_id = e.order_id), '$'))),
  'READY'
FROM order_event e JOIN orders o ON o.id = e.order_id ORDER BY e.id;
