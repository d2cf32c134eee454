-- +goose Up
-- mq_outbox, which is chassis/mq's and there by now, gets what order had not taken, and what is in front of it and of what is still to
-- come: who follows a slip waits for number 1 first. A row that retention deleted is made anew of its slip.
INSERT INTO mq_outbox (event_id, topic, subject, event, state)
SELECT CONCAT(s.id, '-', n.seq), 'wms-events', s.order_id, JSON_OBJECT(
  'specversion', '1.0', 'id', CONCAT(s.id, '-', n.seq), 'source', '/wms', 'type', n.event_type,
  'subject', CONVERT(s.order_id USING utf8mb4),
  'time', DATE_FORMAT(s.updated_at, '%Y-%m-%dT%H:%i:%s.%fZ'),
  'sequence', CAST(n.seq AS CHAR), 'sequencetype', 'Integer',
  'data', JSON_OBJECT('delivery_id', s.id, 'order_id', CONVERT(s.order_id USING utf8mb4), 'status', n.status)), 'READY'
FROM delivery_slip s
JOIN (SELECT 1 AS seq, 'delivery.shipped' AS event_type, 'SHIPPED' AS status
  UNION ALL SELECT 2, 'delivery.delivered', 'DELIVERED') n ON n.seq <= s.event_seq
WHERE s.status = 'SHIPPED' OR EXISTS (SELECT 1 FROM outbox_before_mq o WHERE o.order_id = s.order_id AND o.delivered_at IS NULL)
ORDER BY s.id, n.seq;
