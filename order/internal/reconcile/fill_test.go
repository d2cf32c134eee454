package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
)

// fill writes n orders that were settled a day ago, and the rows that belong to them in all services, with one statement per table. Of 20 orders
// two were canceled (one refused, one never paid), one was refunded, and the others are PAID, SHIPPED or COMPLETED. Half of them have one line,
// half two. There are 1,000 products and 20,000 members; each member was given 1,000 points once.
func (s *shop) fill(t testing.TB, n int) {
	t.Helper()
	names := strings.NewReplacer(
		"{inventory}", s.peers["inventory"].name, "{credit}", s.peers["credit"].name, "{wms}", s.peers["wms"].name,
		"{old}", "TIMESTAMPADD(DAY, -1, NOW(3))", "{gid}", "CONCAT('checkout-', i.id)", "{refund}", "CONCAT('refund-', i.id)",
	)
	db := mysqltest.Owner(t, s.order) // it makes a view
	exec := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			_, err := db.ExecContext(t.Context(), names.Replace(statement))
			require.NoError(t, err, statement)
		}
	}
	const atOnce = 50_000 // larger statements exceed the connection's time limit
	for from := 1; from <= n; from += atOnce {
		exec(fmt.Sprintf(`
			CREATE OR REPLACE VIEW ids AS SELECT seq, seq %% 20 AS k, CONCAT('m-', seq %% 20000) AS member, LOWER(CONCAT(
				LEFT(t, 8), '-', SUBSTR(t, 9, 4), '-7', SUBSTR(m, 1, 3), '-8', SUBSTR(m, 4, 3), '-', SUBSTR(m, 7, 12))) AS id
			FROM (SELECT seq, LPAD(HEX(1735000000000 + seq * 1000), 12, '0') AS t, MD5(seq) AS m FROM seq_%d_to_%d) q`,
			from, min(from+atOnce-1, n)))
		exec(orders...)
	}
	exec(totals...)
}

// orders are the statements that fill in the orders in the view ids and what belongs to them.
var orders = []string{`
	INSERT INTO orders (id, member_id, status, reason, gid, total_cents, points, address, event_seq, created_at, updated_at, expires_at, paid_at)
	SELECT i.id, i.member,
		CASE WHEN i.k < 2 THEN 'CANCELED' WHEN i.k = 2 THEN 'REFUNDED' WHEN i.k = 3 THEN 'PAID' WHEN i.k = 4 THEN 'SHIPPED' ELSE 'COMPLETED' END,
		CASE i.k WHEN 0 THEN 'STOCK_NOT_ENOUGH' WHEN 1 THEN 'EXPIRED' ELSE '' END,
		CASE i.k WHEN 1 THEN '' WHEN 2 THEN {refund} ELSE {gid} END,
		1000 + i.seq % 7 * 100, 10 + i.seq % 7, 'Main Street 1',
		CASE i.k WHEN 0 THEN 2 WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN 3 THEN 2 WHEN 4 THEN 3 ELSE 4 END,
		{old}, {old}, {old}, IF(i.k < 2, NULL, {old}) FROM ids i`, `
	INSERT INTO order_line (order_id, sku, name, price_cents, quantity)
	SELECT i.id, CONCAT('sku-', (i.seq + l.seq * 17) % 1000), 'A product of the catalogue', 500, 1 + (i.seq + l.seq) % 3
	FROM ids i JOIN seq_1_to_2 l ON l.seq <= 1 + i.seq % 2`, `
	INSERT INTO payment_attempt (order_id, no, gid, kind, state, reason, created_at, updated_at)
	SELECT i.id, 1, {gid}, 'PAYMENT', 'DONE', IF(i.k = 0, 'STOCK_NOT_ENOUGH', ''), {old}, {old} FROM ids i WHERE i.k <> 1
	UNION ALL SELECT i.id, 2, {refund}, 'REFUND', 'DONE', '', {old}, {old} FROM ids i WHERE i.k = 2`, `
	INSERT INTO order_event (event_id, event_type, order_id, seq, created_at)
	SELECT CONCAT(o.id, '-', n.seq), 'order.paid', o.id, n.seq, {old}
	FROM ids i STRAIGHT_JOIN orders o ON o.id = i.id JOIN seq_1_to_4 n ON n.seq <= o.event_seq`, `
	INSERT INTO {inventory}.stock_freeze (order_id, sku, gid, quantity, status, created_at, updated_at)
	SELECT i.id, l.sku, {gid}, l.quantity, CASE i.k WHEN 0 THEN 'RELEASED' WHEN 2 THEN 'RETURNED' ELSE 'DEDUCTED' END, {old}, {old}
	FROM ids i STRAIGHT_JOIN order_line l ON l.order_id = i.id WHERE i.k <> 1`, `
	INSERT INTO {credit}.credit_entry (source, member_id, gid, points, status, created_at, updated_at)
	SELECT i.id, i.member, {gid}, 10 + i.seq % 7, CASE i.k WHEN 0 THEN 'CANCELED' WHEN 2 THEN 'DEDUCTED' ELSE 'ADDED' END, {old}, {old}
	FROM ids i WHERE i.k <> 1`, `
	INSERT INTO {wms}.delivery_slip (id, order_id, gid, status, address, created_at, updated_at)
	SELECT i.id, i.id, {gid}, CASE WHEN i.k IN (0, 2) THEN 'CANCELED' WHEN i.k = 3 THEN 'CREATED' WHEN i.k = 4 THEN 'SHIPPED' ELSE 'DELIVERED' END,
		'Main Street 1', {old}, {old} FROM ids i WHERE i.k <> 1`, `
	INSERT INTO {wms}.delivery_line (slip_id, sku, quantity)
	SELECT l.order_id, l.sku, l.quantity FROM ids i STRAIGHT_JOIN order_line l ON l.order_id = i.id WHERE i.k <> 1`,
}

// totals are the statements that fill in stock, and for each member an entry of its own and the account.
var totals = []string{`
	INSERT INTO {inventory}.stock (sku, sellable, frozen, sold, received)
	SELECT CONCAT('sku-', p.seq), 1000000, 0, COALESCE(f.sold, 0), 1000000 + COALESCE(f.sold, 0) FROM seq_0_to_999 p
	LEFT JOIN (SELECT sku, SUM(quantity) AS sold FROM {inventory}.stock_freeze WHERE status = 'DEDUCTED' GROUP BY sku) f
		ON f.sku = CONCAT('sku-', p.seq)`, `
	INSERT INTO {credit}.credit_entry (source, member_id, gid, points, status, created_at, updated_at)
	SELECT DISTINCT CONCAT('seed:', member_id), member_id, '', 1000, 'ADDED', {old}, {old} FROM orders`, `
	INSERT INTO {credit}.credit_account (member_id, credit)
	SELECT member_id, SUM(IF(status = 'ADDED', points, 0)) FROM {credit}.credit_entry GROUP BY member_id`,
}

// clear empties all four databases.
func (s *shop) clear(t testing.TB) {
	t.Helper()
	for name, tables := range map[string][]string{
		s.peers["inventory"].name: {"stock", "stock_freeze", "barrier"},
		s.peers["credit"].name:    {"credit_account", "credit_entry", "barrier"},
		s.peers["wms"].name:       {"delivery_slip", "delivery_line", "barrier"},
		"":                        {"orders", "order_line", "payment_attempt", "order_event", "barrier", "idempotency", "mq_timer"},
	} {
		for _, table := range tables {
			if name != "" {
				table = name + "." + table
			}
			_, err := s.order.ExecContext(t.Context(), "DELETE FROM "+table)
			require.NoError(t, err)
		}
	}
}

// pick returns the id of one order with a status.
func (s *shop) pick(t testing.TB, where string) string {
	t.Helper()
	var id string
	require.NoError(t, s.order.QueryRowContext(t.Context(), "SELECT id FROM orders WHERE "+where+" ORDER BY id LIMIT 1").Scan(&id))
	return id
}

// list returns the ids of the orders with a status.
func (s *shop) list(t testing.TB, where string) []string {
	t.Helper()
	rows, err := s.order.QueryContext(t.Context(), "SELECT id FROM orders WHERE "+where+" ORDER BY id")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}
