package e2e_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

// pools holds one pool for each DSN for the whole run.
var pools sync.Map

// db returns a pool that reads the database of one service, with the login that reads all of them.
func db(t testing.TB, name string) *sql.DB {
	t.Helper()
	return open(t, target.MySQL.DSN(name))
}

func open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	if d, ok := pools.Load(dsn); ok {
		return d.(*sql.DB)
	}
	d, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	d.SetMaxOpenConns(10)
	d.SetMaxIdleConns(10)
	kept, _ := pools.LoadOrStore(dsn, d)
	return kept.(*sql.DB)
}

// one returns a query's only value as text.
func one(t testing.TB, d *sql.DB, query string, args ...any) string {
	t.Helper()
	var v sql.NullString
	err := d.QueryRowContext(t.Context(), query, args...).Scan(&v)
	if err == sql.ErrNoRows {
		return ""
	}
	require.NoError(t, err, query)
	return v.String
}

// footprint returns what one order left in each service: "order | inventory | credit | wms | attempts".
func footprint(t testing.TB, id string) string {
	t.Helper()
	return strings.Join([]string{
		one(t, db(t, "shop_order"), "SELECT CONCAT_WS(' ', status, NULLIF(reason, '')) FROM orders WHERE id = ?", id),
		one(t, db(t, "shop_inventory"), "SELECT GROUP_CONCAT(quantity, ' ', status ORDER BY sku) FROM stock_freeze WHERE order_id = ?", id),
		one(t, db(t, "shop_credit"), "SELECT GROUP_CONCAT(points, ' ', status) FROM credit_entry WHERE source = ?", id),
		one(t, db(t, "shop_wms"), "SELECT GROUP_CONCAT(status) FROM delivery_slip WHERE order_id = ?", id),
		one(t, db(t, "shop_order"), "SELECT GROUP_CONCAT(state ORDER BY no) FROM payment_attempt WHERE order_id = ?", id),
	}, " | ")
}

// books are the checks that nothing is lost or doubled and nothing is open. Each selects the rows that are wrong.
var books = []struct{ name, database, query string }{
	{"stock adds up", "shop_inventory", `SELECT sku AS row_id FROM stock WHERE sellable + frozen + sold <> received
			OR LEAST(sellable, frozen, sold) < 0`},
	{"frozen stock is that of FROZEN lines", "shop_inventory", `SELECT s.sku AS row_id FROM stock s LEFT JOIN
			(SELECT sku, SUM(IF(status = 'FROZEN', quantity, 0)) f, SUM(IF(status IN ('DEDUCTED', 'RETURNING'), quantity, 0)) d
			 FROM stock_freeze GROUP BY sku) z ON z.sku = s.sku WHERE s.frozen <> COALESCE(z.f, 0) OR s.sold <> COALESCE(z.d, 0)`},
	{"credit is the sum of its entries", "shop_credit", `SELECT a.member_id AS row_id FROM credit_account a LEFT JOIN
			(SELECT member_id, SUM(IF(status IN ('ADDED', 'DEDUCTING'), points, 0)) c, SUM(IF(status = 'PREPARED', points, 0)) p
			 FROM credit_entry GROUP BY member_id) e ON e.member_id = a.member_id
			WHERE a.credit + a.prepare_deduct_credit <> COALESCE(e.c, 0) OR a.prepare_add_credit <> COALESCE(e.p, 0)`},
	{"no payment is open", "shop_order", `SELECT order_id AS row_id FROM payment_attempt WHERE state = 'OPEN'
			UNION ALL SELECT id FROM orders WHERE status IN ('UPDATING', 'REFUNDING')`},
	{"nothing is frozen", "shop_inventory", "SELECT order_id AS row_id FROM stock_freeze WHERE status IN ('FROZEN', 'RETURNING')"},
	{"nothing is prepared", "shop_credit", "SELECT source AS row_id FROM credit_entry WHERE status IN ('PREPARED', 'DEDUCTING')"},
	{"no slip is unknown or held", "shop_wms", "SELECT order_id AS row_id FROM delivery_slip WHERE status IN ('UNKNOWN', 'HELD')"},
	{"every event has its number", "shop_order", `SELECT o.id AS row_id FROM orders o LEFT JOIN order_event x ON x.order_id = o.id
			GROUP BY o.id, o.event_seq HAVING COUNT(x.id) <> o.event_seq OR MAX(x.seq) <> o.event_seq`},
	// One MariaDB server holds all databases, so the services can be compared in one statement.
	{"PAID means added and a slip", "shop_order", `SELECT o.id AS row_id FROM orders o
			WHERE o.status IN ('PAID', 'SHIPPED', 'COMPLETED') AND (
			NOT EXISTS (SELECT 1 FROM shop_credit.credit_entry e WHERE e.source = o.id AND e.status = 'ADDED' AND e.points = o.points)
			OR NOT EXISTS (SELECT 1 FROM shop_wms.delivery_slip d WHERE d.order_id = o.id
				AND d.status IN ('CREATED', 'PICKED', 'SHIPPED', 'DELIVERED')))`},
	{"each line of a PAID order is deducted", "shop_order", `SELECT o.id AS row_id FROM orders o JOIN order_line l ON l.order_id = o.id
			LEFT JOIN shop_inventory.stock_freeze f ON f.order_id = l.order_id AND f.sku = l.sku AND f.quantity = l.quantity
				AND f.status = 'DEDUCTED'
			WHERE o.status IN ('PAID', 'SHIPPED', 'COMPLETED') AND f.order_id IS NULL`},
	{"each line of a REFUNDED order is returned", "shop_order", `SELECT o.id AS row_id FROM orders o JOIN order_line l ON l.order_id = o.id
			LEFT JOIN shop_inventory.stock_freeze f ON f.order_id = l.order_id AND f.sku = l.sku AND f.quantity = l.quantity
				AND f.status = 'RETURNED'
			WHERE o.status = 'REFUNDED' AND f.order_id IS NULL`},
	{"each line of a PAID order is on its slip", "shop_order", `SELECT o.id AS row_id FROM orders o JOIN order_line l ON l.order_id = o.id
			LEFT JOIN shop_wms.delivery_slip d ON d.order_id = o.id
			LEFT JOIN shop_wms.delivery_line w ON w.slip_id = d.id AND w.sku = l.sku AND w.quantity = l.quantity
			WHERE o.status IN ('PAID', 'SHIPPED', 'COMPLETED') AND w.slip_id IS NULL`},
	{"what was frozen or is on a slip is a line of its order", "shop_order", `SELECT x.order_id AS row_id FROM (
			SELECT order_id, sku, quantity FROM shop_inventory.stock_freeze
			UNION ALL SELECT d.order_id, w.sku, w.quantity FROM shop_wms.delivery_line w JOIN shop_wms.delivery_slip d ON d.id = w.slip_id) x
			LEFT JOIN order_line l ON l.order_id = x.order_id AND l.sku = x.sku AND l.quantity = x.quantity
			WHERE l.order_id IS NULL`},
	{"deducted means PAID", "shop_order", `SELECT f.order_id AS row_id FROM shop_inventory.stock_freeze f
			LEFT JOIN orders o ON o.id = f.order_id AND o.status IN ('PAID', 'SHIPPED', 'COMPLETED')
			WHERE f.status = 'DEDUCTED' AND o.id IS NULL`},
	{"added means PAID", "shop_order", `SELECT e.source AS row_id FROM shop_credit.credit_entry e
			LEFT JOIN orders o ON o.id = e.source AND o.status IN ('PAID', 'SHIPPED', 'COMPLETED')
			WHERE e.status = 'ADDED' AND e.source NOT LIKE 'seed:%' AND e.source NOT LIKE 'registration:%' AND o.id IS NULL`},
	{"a slip means PAID", "shop_order", `SELECT d.order_id AS row_id FROM shop_wms.delivery_slip d
			LEFT JOIN orders o ON o.id = d.order_id AND o.status IN ('PAID', 'SHIPPED', 'COMPLETED')
			WHERE d.status IN ('CREATED', 'PICKED', 'SHIPPED', 'DELIVERED') AND o.id IS NULL`},
}

// requireBooks requires that the books add up and nothing is open.
func requireBooks(t testing.TB) {
	t.Helper()
	require.Empty(t, bookProblems(t, target))
}

// fault sets a failpoint in order's process and clears it when the test ends. hit waits until it was hit.
func fault(t testing.TB, point, action string) (hit func()) {
	t.Helper()
	before := hits(t, point)
	require.NoError(t, setFault(t.Context(), point, action))
	t.Cleanup(func() { _ = setFault(context.Background(), point, "") })
	return func() {
		t.Helper()
		require.Eventually(t, func() bool { return hits(t, point) > before }, patience, 10*time.Millisecond, "%s is hit", point)
	}
}

// hits returns how often the failpoint was hit since the process started.
func hits(t testing.TB, point string) int {
	t.Helper()
	resp, err := http.Get(target.Admin["order"] + "/faults")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var reply struct{ Hits map[string]int }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&reply))
	return reply.Hits[point]
}

// setFault sets a failpoint in order.
func setFault(ctx context.Context, point, action string) error {
	return setFaultAt(ctx, "order", point, action)
}

func setFaultAt(ctx context.Context, process, point, action string) error {
	body, err := json.Marshal(map[string]string{point: action})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target.Admin[process]+"/faults", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("set the failpoint %s: %s", point, resp.Status)
	}
	return nil
}
