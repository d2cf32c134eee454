package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/reconcile"
)

// The checks by name; each service's own checks are tested in that service.
const (
	attemptsFit = "order: attempts fit the order's status"
	eventsFit   = "order: events are numbered without gaps"
	staleOrder  = "order: nothing stays UPDATING or REFUNDING"
	staleTry    = "order: no attempt stays OPEN"
	sold        = "order and inventory: PAID or later means DEDUCTED"
	soldPaid    = "order and inventory: DEDUCTED means PAID or later"
	added       = "order and credit: PAID or later means ADDED"
	addedPaid   = "order and credit: ADDED means PAID or later"
	slip        = "order and wms: PAID or later means CREATED or later"
	slipPaid    = "order and wms: CREATED or later means PAID or later"
	follows     = "order and wms: the order follows SHIPPED, DELIVERED"
)

// broken returns the names of the checks that found something.
func broken(r reconcile.Report) []string {
	names := []string{}
	for _, c := range r.Checks {
		if len(c.Violations) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// populate fills the shop and leaves one order in each state in which a transaction can leave it for a while.
func populate(t testing.TB, s *shop) {
	t.Helper()
	s.fill(t, 240)
	for i := range settled {
		o, err := s.create(t.Context())
		require.NoError(t, err)
		require.NoError(t, run(t.Context(), s.steps(order.Payment, o, i%2 == 0)[:i]...), "payment, %d steps", i)
	}
	for i := range settled {
		o := s.old(t, s.pick(t, "status = 'PAID' AND NOT EXISTS (SELECT 1 FROM payment_attempt a WHERE a.open_order = orders.id)"))
		require.NoError(t, run(t.Context(), s.steps(order.Refund, o, i%2 == 0)[:i+1]...), "refund, %d steps", i+1)
	}
}

// TestWhole tests that nothing is wrong with orders in every state and transactions at every step, and that everything is looked at.
func TestWhole(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	populate(t, s)
	report, err := s.comparator().Run(t.Context(), time.Minute)
	require.NoError(t, err)
	assert.Empty(t, broken(report), "%v", report.Checks)
	assert.True(t, report.OK())
	names := map[string]bool{}
	for _, c := range report.Checks {
		names[c.Name] = true
		assert.Positive(t, c.Checked, c.Name)
	}
	assert.Len(t, names, 23, "each check once: %v", names)
}

// TestViolations corrupts one thing in one database and tests that exactly the checks whose rule it breaks find it.
func TestViolations(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	// What the statements refer to: {paid} is a PAID order of two lines, {other} another one with other quantities and in the same bucket,
	// {closed} a CANCELED one that left RELEASED lines; {refunded} and {new} (CREATED) are named by their status.
	const (
		old    = ", updated_at = TIMESTAMPADD(SECOND, -61, NOW(3))"
		young  = ", updated_at = NOW(3)"
		line   = "order_id = '{paid}' AND sku = (SELECT MIN(sku) FROM {order}.order_line WHERE order_id = '{paid}')"
		freeze = "UPDATE {inventory}.stock_freeze SET "
		// Run after a line was changed, so that stock itself adds up.
		rebook = `UPDATE {inventory}.stock s SET received = received - sold + COALESCE((SELECT SUM(f.quantity) FROM {inventory}.stock_freeze f
			WHERE f.sku = s.sku AND f.status IN ('DEDUCTED', 'RETURNING')), 0), sold = COALESCE((SELECT SUM(f.quantity) FROM
			{inventory}.stock_freeze f WHERE f.sku = s.sku AND f.status IN ('DEDUCTED', 'RETURNING')), 0)`
		recount = `UPDATE {credit}.credit_account a SET credit = (SELECT SUM(IF(e.status = 'ADDED', e.points, 0))
			FROM {credit}.credit_entry e WHERE e.member_id = a.member_id)`
	)
	way := func(status, age string) string {
		return "UPDATE {wms}.delivery_slip SET status = '" + status + "'" + age + " WHERE order_id = "
	}
	for _, c := range []struct {
		name       string
		statements []string
		broken     []string
		// text is in the violation.
		text string
	}{
		{"an attempt is undone", []string{"UPDATE payment_attempt SET state = 'ABANDONED' WHERE order_id = '{paid}'"}, []string{attemptsFit},
			"PAYMENT checkout-{paid} ABANDONED"},
		{"an attempt is open again", []string{"UPDATE payment_attempt SET state = 'OPEN', created_at = NOW(3) WHERE order_id = '{paid}'"},
			[]string{attemptsFit}, "{paid}"},
		{"an attempt is lost", []string{"DELETE FROM payment_attempt WHERE order_id = '{paid}'"}, []string{attemptsFit}, "no attempts"},
		{"an attempt of no order",
			[]string{"INSERT INTO payment_attempt (order_id, no, gid, kind, state) VALUES ('zz-nobody', 1, 'g', 'PAYMENT', 'DONE')"},
			[]string{attemptsFit}, "zz-nobody: no such order"},
		{"paid twice", []string{"INSERT INTO payment_attempt (order_id, no, gid, kind, state) VALUES ('{paid}', 2, 'g', 'PAYMENT', 'DONE')"},
			[]string{attemptsFit}, "PAYMENT g DONE"},
		{"an unpaid order was paid for",
			[]string{"INSERT INTO payment_attempt (order_id, no, gid, kind, state) VALUES ('{new}', 1, 'g', 'PAYMENT', 'DONE')"},
			[]string{attemptsFit}, "{new}"},

		{"the first event is lost", []string{"DELETE FROM order_event WHERE order_id = '{paid}' AND seq = 1"}, []string{eventsFit},
			"counted 2, in the log 1, the last number is 2"},
		{"the last event is lost", []string{"DELETE FROM order_event WHERE order_id = '{paid}' AND seq = 2"}, []string{eventsFit}, "{paid}"},
		{"an event has the wrong number", []string{"UPDATE order_event SET seq = 3 WHERE order_id = '{paid}' AND seq = 2"}, []string{eventsFit},
			"{paid}"},
		{"an event too many", []string{"INSERT INTO order_event (event_id, event_type, order_id, seq) VALUES ('e', 'order.paid', '{paid}', 3)"},
			[]string{eventsFit}, "{paid}"},
		{"an event of no order",
			[]string{"INSERT INTO order_event (event_id, event_type, order_id, seq) VALUES ('e', 'order.paid', '00-nobody', 1)"},
			[]string{eventsFit, attemptsFit}, "00-nobody"},
		{"an event is not counted", []string{"UPDATE orders SET event_seq = 3 WHERE id = '{paid}'"}, []string{eventsFit}, "{paid}"},

		{"an order stays UPDATING", []string{"UPDATE orders SET status = status" + old + " WHERE id = '{updating}'"}, []string{staleOrder},
			"{updating}: UPDATING for 61 s"},
		{"an order stays REFUNDING", []string{"UPDATE orders SET status = status" + old + " WHERE id = '{refunding}'"}, []string{staleOrder},
			"{refunding}: REFUNDING for 61 s"},
		{"an attempt stays OPEN",
			[]string{"UPDATE payment_attempt SET created_at = TIMESTAMPADD(SECOND, -61, NOW(3)) WHERE order_id = '{updating}'"},
			[]string{staleTry}, "{updating}: PAYMENT "},

		{"a paid line was released", []string{freeze + "status = 'RELEASED' WHERE " + line, rebook}, []string{sold}, "{paid}: PAID with "},
		{"paid lines were released", []string{freeze + "status = 'RELEASED' WHERE order_id = '{paid}'", rebook}, []string{sold}, "{paid}"},
		{"a paid line was sold less often", []string{freeze + "quantity = quantity + 1 WHERE " + line, rebook}, []string{sold}, "{paid}"},
		{"a paid line is lost", []string{"DELETE FROM {inventory}.stock_freeze WHERE " + line, rebook}, []string{sold}, "{paid}"},
		{"all paid lines are lost", []string{"DELETE FROM {inventory}.stock_freeze WHERE order_id = '{paid}'", rebook}, []string{sold},
			"inventory has nothing"},
		{"a line too many is sold", []string{"INSERT INTO {inventory}.stock_freeze (order_id, sku, gid, quantity, status) " +
			"VALUES ('{paid}', 'sku-999', 'g', 1, 'DEDUCTED')", rebook}, []string{sold}, "sku-999|1 DEDUCTED"},
		{"a line of the order changes", []string{"UPDATE order_line SET quantity = quantity + 1 WHERE " + line}, []string{sold}, "{paid}"},
		{"two orders exchange their lines", []string{
			"UPDATE {inventory}.stock_freeze SET order_id = 'x' WHERE order_id = '{paid}'",
			"UPDATE {inventory}.stock_freeze SET order_id = '{paid}' WHERE order_id = '{other}'",
			"UPDATE {inventory}.stock_freeze SET order_id = '{other}' WHERE order_id = 'x'",
		}, []string{sold}, "{other}"},

		{"other points were added", []string{"UPDATE {credit}.credit_entry SET points = points + 1 WHERE source = '{paid}'", recount},
			[]string{added}, "{paid}: PAID with "},
		{"no points were added", []string{"UPDATE {credit}.credit_entry SET status = 'CANCELED' WHERE source = '{paid}'", recount},
			[]string{added}, "CANCELED"},
		{"the points were taken back", []string{"UPDATE {credit}.credit_entry SET status = 'DEDUCTED' WHERE source = '{paid}'", recount},
			[]string{added}, "DEDUCTED"},
		{"the entry is lost", []string{"DELETE FROM {credit}.credit_entry WHERE source = '{paid}'", recount}, []string{added},
			"credit has nothing"},
		{"the order brings other points", []string{"UPDATE orders SET points = points + 1 WHERE id = '{paid}'"}, []string{added}, "{paid}"},

		{"the slip is canceled", []string{"UPDATE {wms}.delivery_slip SET status = 'CANCELED' WHERE order_id = '{paid}'"}, []string{slip},
			"{paid}: PAID with a slip; wms has CANCELED"},
		{"the slip is lost", []string{"DELETE FROM {wms}.delivery_slip WHERE order_id = '{paid}'"}, []string{slip}, "wms has nothing"},
		{"the slip of a completed order is lost", []string{"DELETE FROM {wms}.delivery_slip WHERE order_id = '{completed}'"}, []string{slip},
			"COMPLETED"},
		{"the slip is of another order", []string{"UPDATE {wms}.delivery_slip SET order_id = 'zz-nobody'" + old + " WHERE order_id = '{paid}'"},
			[]string{slip, slipPaid}, "no such order"},

		{"shipped, and the order never heard", []string{way("SHIPPED", old) + "'{paid}'"}, []string{follows}, "{paid}: PAID; wms has SHIPPED"},
		{"delivered, and the order never heard", []string{way("DELIVERED", old) + "'{paid}'"}, []string{follows},
			"{paid}: PAID; wms has DELIVERED"},
		{"delivered, and the order heard of shipping only", []string{way("DELIVERED", old) + "'{shipped}'"}, []string{follows},
			"{shipped}: SHIPPED; wms has DELIVERED"},
		{"shipped just now", []string{way("SHIPPED", young) + "'{paid}'"}, []string{}, ""},
		{"delivered just now", []string{way("DELIVERED", young) + "'{shipped}'"}, []string{}, ""},
		{"delivered long ago, and paid just now", []string{way("DELIVERED", old) + "'{paid}'", "UPDATE orders SET paid_at = paid_at" + young +
			" WHERE id = '{paid}'"}, []string{}, ""},
		{"delivered while it is refunded", []string{way("DELIVERED", old) + "'{refunding}'"}, []string{}, ""},
		{"picked, of which the order is not told", []string{way("PICKED", old) + "'{paid}'"}, []string{}, ""},
		{"completed and never delivered", []string{way("SHIPPED", young) + "'{completed}'"}, []string{follows},
			"{completed}: COMPLETED; wms has SHIPPED"},
		{"completed and never shipped", []string{way("PICKED", young) + "'{completed}'"}, []string{follows},
			"{completed}: COMPLETED; wms has PICKED"},
		{"shipped for the order only", []string{way("CREATED", young) + "'{shipped}'"}, []string{follows}, "{shipped}: SHIPPED; wms has CREATED"},

		{"refunded and still sold", []string{freeze + "status = 'DEDUCTED'" + old + " WHERE order_id = '{refunded}'", rebook},
			[]string{soldPaid}, "{refunded}: REFUNDED; inventory has "},
		{"refunded and to be returned for ever", []string{freeze + "status = 'RETURNING'" + old + " WHERE order_id = '{refunded}'", rebook},
			[]string{soldPaid, "inventory: nothing stays FROZEN or RETURNING"}, "{refunded}"},
		{"refunded and just now still sold", []string{freeze + "status = 'DEDUCTED'" + young + " WHERE order_id = '{refunded}'", rebook},
			[]string{}, ""},
		{"canceled and sold", []string{freeze + "status = 'DEDUCTED'" + old + " WHERE order_id = '{closed}'", rebook}, []string{soldPaid},
			"{closed}: CANCELED"},
		{"canceled and credited", []string{"UPDATE {credit}.credit_entry SET status = 'ADDED'" + old + " WHERE source = '{closed}'", recount},
			[]string{addedPaid}, "{closed}: CANCELED; credit has "},
		{"canceled and just now credited",
			[]string{"UPDATE {credit}.credit_entry SET status = 'ADDED'" + young + " WHERE source = '{closed}'", recount}, []string{}, ""},
		{"canceled and to be delivered", []string{"UPDATE {wms}.delivery_slip SET status = 'CREATED'" + old + " WHERE order_id = '{closed}'"},
			[]string{slipPaid}, "{closed}: CANCELED; wms has CREATED"},
		{"canceled and just now to be delivered",
			[]string{"UPDATE {wms}.delivery_slip SET status = 'CREATED'" + young + " WHERE order_id = '{closed}'"}, []string{}, ""},
		{"never paid and delivered", []string{"INSERT INTO {wms}.delivery_slip (id, order_id, gid, status, address, updated_at) " +
			"VALUES ('s', '{new}', 'g', 'DELIVERED', '', '2026-01-01')",
			"INSERT INTO {wms}.delivery_line (slip_id, sku, quantity) VALUES ('s', 'a', 1)"},
			[]string{slipPaid}, "{new}: CREATED; wms has DELIVERED"},
		{"confirmed everywhere but in order",
			[]string{"UPDATE orders SET status = 'CREATED', gid = '' WHERE id = '{paid}'",
				"DELETE FROM payment_attempt WHERE order_id = '{paid}'"},
			[]string{soldPaid, addedPaid, slipPaid}, "{paid}: CREATED"},
		{"an order is lost",
			[]string{"DELETE FROM orders WHERE id = '{paid}'", "DELETE FROM payment_attempt WHERE order_id = '{paid}'",
				"DELETE FROM order_event WHERE order_id = '{paid}'"},
			[]string{attemptsFit, soldPaid, addedPaid, slipPaid}, "{paid}: no such order"},
		{"points for something else", []string{"INSERT INTO {credit}.credit_entry (source, member_id, gid, points, status, updated_at) " +
			"VALUES ('sign-up', 'm-1', '', 5, 'ADDED', '2026-01-01')", recount}, []string{}, ""},

		{"a unit appears", []string{"UPDATE {inventory}.stock SET sellable = sellable + 1 WHERE sku = 'sku-1'"},
			[]string{"inventory: sellable + frozen + sold = received, none negative"}, "sku-1"},
		{"a point appears", []string{"UPDATE {credit}.credit_account SET credit = credit + 1 WHERE member_id = 'm-1'"},
			[]string{"credit: credit + prepare_deduct_credit = ADDED + DEDUCTING entries"}, "m-1"},
		{"a slip is empty", []string{"DELETE FROM {wms}.delivery_line WHERE slip_id = '{paid}'"}, []string{"wms: every slip has lines"},
			"{paid}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.clear(t)
			s.fill(t, 80)
			words := s.words(t)
			for i, statement := range c.statements {
				c.statements[i] = words.Replace(statement)
			}
			mysqltest.Corrupt(t, s.order, c.statements...)
			report, err := s.comparator().Run(t.Context(), time.Minute)
			require.NoError(t, err)
			assert.ElementsMatch(t, c.broken, broken(report), "%v", report.Checks)
			assert.Equal(t, len(c.broken) == 0, report.OK())
			assert.Contains(t, fmt.Sprint(report.Checks), words.Replace(c.text))
		})
	}
}

// words replaces what the statements of TestViolations refer to.
func (s *shop) words(t *testing.T) *strings.Replacer {
	t.Helper()
	paid := s.pick(t, "status = 'PAID' AND (SELECT COUNT(*) FROM order_line l WHERE l.order_id = orders.id) = 2")
	created := map[string]string{}
	for _, name := range []string{"new", "updating", "refunding"} {
		o, err := s.create(t.Context())
		require.NoError(t, err)
		created[name] = o.ID
		switch name {
		case "updating":
			require.NoError(t, run(t.Context(), s.steps(order.Payment, o, true)[:tried]...))
		case "refunding":
			require.NoError(t, run(t.Context(), s.steps(order.Payment, o, true)...))
			require.NoError(t, run(t.Context(), s.steps(order.Refund, o, true)[:tried]...))
		}
	}
	return strings.NewReplacer(
		"{order}", s.name, "{inventory}", s.peers["inventory"].name, "{credit}", s.peers["credit"].name, "{wms}", s.peers["wms"].name,
		"{paid}", paid, "{other}", s.sibling(t, paid), "{new}", created["new"], "{updating}", created["updating"], "{refunding}",
		created["refunding"],
		"{closed}", s.pick(t, "status = 'CANCELED' AND gid <> ''"), "{refunded}", s.pick(t, "status = 'REFUNDED'"),
		"{completed}", s.pick(t, "status = 'COMPLETED'"), "{shipped}", s.pick(t, "status = 'SHIPPED'"),
	)
}

// sibling pays an order of the same bucket as id, with other lines.
func (s *shop) sibling(t *testing.T, id string) string {
	t.Helper()
	for i := 0; ; i++ {
		o, err := order.New(fmt.Sprintf("ffffffff-%d", i), "m-1", "", []order.Line{{SKU: "sku-1", Name: "one", PriceCents: 500, Quantity: 7}})
		require.NoError(t, err)
		if ledger.Bucket(o.ID) == ledger.Bucket(id) {
			require.NoError(t, s.write(t.Context(), o))
			require.NoError(t, run(t.Context(), s.steps(order.Payment, o, true)...))
			return o.ID
		}
	}
}
