package main

import (
	"database/sql"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// payment is what a branch is about: one unit of a product, and 10 points.
type payment struct{ gid, order, member, sku string }

// participant is a service that has its part in a payment: its row changes by phase, as DTM names them. They are those of our services, so that
// what a payment leaves is what e2e/cmd/bench/local.sql writes at once.
type participant struct {
	name    string
	changes map[string]func(p payment) []change
}

var participants = []participant{
	{"order", map[string]func(payment) []change{
		"try": func(p payment) []change {
			return []change{{"UPDATE bench_order.orders FORCE INDEX (PRIMARY) SET status = 'UPDATING', gid = ? WHERE id = ? AND status = 'CREATED'",
				[]any{p.gid, p.order}}}
		},
		"confirm": func(p payment) []change { return p.settle("PAID") },
		"cancel":  func(p payment) []change { return p.settle("CANCELED") },
	}},
	{"inventory", map[string]func(payment) []change{
		"try": func(p payment) []change {
			return []change{
				{"UPDATE bench_inventory.stock SET sellable = sellable - 1, frozen = frozen + 1 WHERE sku = ? AND sellable >= 1", []any{p.sku}},
				{"INSERT INTO bench_inventory.stock_freeze (order_id, sku, gid, quantity, status) VALUES (?, ?, ?, 1, 'FROZEN')",
					[]any{p.order, p.sku, p.gid}}}
		},
		"confirm": func(p payment) []change {
			return []change{p.moveFreeze("DEDUCTED"),
				{"UPDATE bench_inventory.stock SET frozen = frozen - 1, sold = sold + 1 WHERE sku = ?", []any{p.sku}}}
		},
		"cancel": func(p payment) []change {
			return []change{p.moveFreeze("RELEASED"),
				{"UPDATE bench_inventory.stock SET frozen = frozen - 1, sellable = sellable + 1 WHERE sku = ?", []any{p.sku}}}
		},
	}},
	{"credit", map[string]func(payment) []change{
		"try": func(p payment) []change {
			return []change{
				{"UPDATE bench_credit.credit_account SET prepare_add_credit = prepare_add_credit + 10 WHERE member_id = ? AND frozen = 0", []any{p.member}},
				{"INSERT INTO bench_credit.credit_entry (source, member_id, gid, points, status) VALUES (?, ?, ?, 10, 'PREPARED')",
					[]any{p.order, p.member, p.gid}}}
		},
		"confirm": func(p payment) []change {
			return []change{p.moveEntry("ADDED"),
				{"UPDATE bench_credit.credit_account SET prepare_add_credit = prepare_add_credit - 10, credit = credit + 10 WHERE member_id = ?",
					[]any{p.member}}}
		},
		"cancel": func(p payment) []change {
			return []change{p.moveEntry("CANCELED"),
				{"UPDATE bench_credit.credit_account SET prepare_add_credit = prepare_add_credit - 10 WHERE member_id = ?", []any{p.member}}}
		},
	}},
	{"wms", map[string]func(payment) []change{
		"try": func(p payment) []change {
			slip := uuid.NewString()
			return []change{
				{"INSERT INTO bench_wms.delivery_slip (id, order_id, gid, status, address) VALUES (?, ?, ?, 'UNKNOWN', '')", []any{slip, p.order, p.gid}},
				{"INSERT INTO bench_wms.delivery_line (slip_id, sku, quantity) VALUES (?, ?, 1)", []any{slip, p.sku}}}
		},
		"confirm": func(p payment) []change { return []change{p.moveSlip("CREATED")} },
		"cancel":  func(p payment) []change { return []change{p.moveSlip("CANCELED")} },
	}},
}

// settle ends the order's part, with its event and its place in the outbox.
func (p payment) settle(status string) []change {
	event, kind, data := uuid.NewString(), "order."+strings.ToLower(status), strings.Repeat("x", 700)
	return []change{
		{"UPDATE bench_order.orders FORCE INDEX (PRIMARY) SET status = ?, paid_at = IF(status = 'PAID', NOW(3), paid_at), event_seq = event_seq + 1" +
			" WHERE id = ? AND gid = ? AND status = 'UPDATING'", []any{status, p.order, p.gid}},
		{"INSERT INTO bench_order.order_event (event_id, event_type, order_id, seq) VALUES (?, ?, ?, 2)", []any{event, kind, p.order}},
		{"INSERT INTO bench_order.mq_outbox (event_id, topic, subject, type, event, state) VALUES (?, 'orders', ?, ?, ?, 'READY')",
			[]any{event, p.order, kind, data}},
		{"UPDATE bench_order.mq_timer SET state = 'CANCELED', closed_at = NOW(3) WHERE id = ? AND state = 'ARMED'", []any{p.order}},
	}
}

func (p payment) moveFreeze(to string) change {
	return change{"UPDATE bench_inventory.stock_freeze FORCE INDEX (PRIMARY) SET status = ? WHERE order_id = ? AND gid = ? AND status = 'FROZEN'",
		[]any{to, p.order, p.gid}}
}

func (p payment) moveEntry(to string) change {
	return change{"UPDATE bench_credit.credit_entry FORCE INDEX (PRIMARY) SET status = ? WHERE source = ? AND gid = ? AND status = 'PREPARED'",
		[]any{to, p.order, p.gid}}
}

func (p payment) moveSlip(to string) change {
	return change{"UPDATE bench_wms.delivery_slip FORCE INDEX (uniq_order) SET status = ? WHERE order_id = ? AND gid = ? AND status = 'UNKNOWN'",
		[]any{to, p.order, p.gid}}
}

// change is a statement that changes one row.
type change struct {
	statement string
	args      []any
}

func (c change) make(tx *sql.Tx) error {
	res, err := tx.Exec(c.statement, c.args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("changed %d rows: %s: %w", n, c.statement, err)
	}
	return nil
}
