-- The row changes of a payment as one local transaction, over copies of the services' tables in four databases of one server: what is sold,
-- credited and delivered, the order's event and its place in the outbox, and the timer that is no longer needed. It is what a payment is
-- measured against, so it does not change with the payment.

-- order
UPDATE bench_order.orders SET status = 'PAID', paid_at = NOW(3), event_seq = event_seq + 1 WHERE id = :order AND status = 'CREATED';
INSERT INTO bench_order.order_event (event_id, event_type, order_id, seq) VALUES (:event, 'order.paid', :order, 2);
INSERT INTO bench_order.mq_outbox (event_id, topic, subject, type, event, state) VALUES (:event, 'orders', :order, 'order.paid', :data, 'READY');
UPDATE bench_order.mq_timer SET state = 'CANCELED', closed_at = NOW(3) WHERE id = :order AND state = 'ARMED';
-- inventory
UPDATE bench_inventory.stock SET sellable = sellable - 1, sold = sold + 1 WHERE sku = :sku AND sellable >= 1;
INSERT INTO bench_inventory.stock_freeze (order_id, sku, gid, quantity, status) VALUES (:order, :sku, :gid, 1, 'DEDUCTED');
-- credit
UPDATE bench_credit.credit_account SET credit = credit + 10 WHERE member_id = :member AND frozen = 0;
INSERT INTO bench_credit.credit_entry (source, member_id, gid, points, status) VALUES (:order, :member, :gid, 10, 'ADDED');
-- wms
INSERT INTO bench_wms.delivery_slip (id, order_id, gid, status, address) VALUES (:slip, :order, :gid, 'CREATED', '');
INSERT INTO bench_wms.delivery_line (slip_id, sku, quantity) VALUES (:slip, :sku, 1);
