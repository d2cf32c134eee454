package mysql_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// published returns the order events that wait for the relay, in the order in which it will send them.
func published(t *testing.T, db *sql.DB) (lines []string) {
	t.Helper()
	for _, e := range mqtest.Outbox[eventv1.OrderChanged](t, db, eventv1.TopicOrders) {
		c := e.Data
		assert.Equal(t, []string{"/order", c.GetOrderId()}, []string{e.Source, e.Subject})
		assert.WithinDuration(t, time.Now(), e.Time, time.Minute)
		line := fmt.Sprintf("%s %d %s: %s %q of %s, %d cents, %d points", e.Subject, e.Sequence, e.Type, c.GetStatus(), c.GetReason(),
			c.GetMemberId(), c.GetTotalCents(), c.GetPoints())
		for _, l := range c.GetLines() {
			line += fmt.Sprintf(", %d %s %s at %d", l.GetQuantity(), l.GetSku(), l.GetName(), l.GetPriceCents())
		}
		lines = append(lines, line)
	}
	return lines
}

// TestEvents tests that each change of an order is published with it, numbered, with all that subscribers need, and that the order shows the
// number of its last event.
func TestEvents(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	inTx := func(f func(tx *sql.Tx) error) {
		require.NoError(t, database.InTx(t.Context(), db, f))
	}
	pay := func(id, gid string) {
		_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, gid)
		require.NoError(t, err)
		require.NoError(t, begin(t, db, store, id, gid))
	}
	pay(id, "gid-1")
	inTx(func(tx *sql.Tx) error {
		return batch.Apply(t.Context(), tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: id, GID: "gid-1"})
	})
	inTx(func(tx *sql.Tx) error { return store.Follow(t.Context(), tx, id, order.Ship, "order.shipped") })
	refused := addOrder(t, store)
	pay(refused, "gid-2")
	require.NoError(t, store.RecordReason(t.Context(), "gid-2", order.CreditRefused))
	inTx(func(tx *sql.Tx) error {
		return batch.Apply(t.Context(), tx, store.Settle(order.CancelPayment)(), mysql.Holding{Subject: refused, GID: "gid-2"})
	})
	closed := addOrder(t, store)
	require.NoError(t, store.Close(t.Context(), member, closed, order.ByMember))
	about := ` of member-1, 1000 cents, 10 points, 2 a 阿 at 500`
	require.Equal(t, []string{
		id + ` 1 order.created: CREATED ""` + about, id + ` 2 order.paid: PAID ""` + about, id + ` 3 order.shipped: SHIPPED ""` + about,
		refused + ` 1 order.created: CREATED ""` + about, refused + ` 2 order.canceled: CANCELED "CREDIT_REFUSED"` + about,
		closed + ` 1 order.created: CREATED ""` + about, closed + ` 2 order.canceled: CANCELED "BY_MEMBER"` + about,
	}, published(t, db))
	require.Equal(t, "7\n--\n", mysqltest.Dump(t, db, `SELECT COUNT(*) FROM order_event e JOIN mq_outbox o ON o.event_id = e.event_id
		AND o.subject = e.order_id AND e.seq = JSON_VALUE(CONVERT(o.event USING utf8mb4), '$.sequence')`), "the log has the same")
	o, err := store.Order(t.Context(), member, id)
	require.NoError(t, err)
	assert.EqualValues(t, 3, o.Version)
	all, err := store.Orders(t.Context(), member, "", 10)
	require.NoError(t, err)
	assert.Equal(t, []int64{2, 2, 3}, []int64{all[0].Version, all[1].Version, all[2].Version})
}

// TestToldOrNotDone tests that nothing happens when the event cannot be written: no order, no PAID, no CANCELED.
func TestToldOrNotDone(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid")
	require.NoError(t, err)
	require.NoError(t, begin(t, db, store, id, "gid"))
	unpaid := addOrder(t, store)
	_, err = mysqltest.Owner(t, db).ExecContext(t.Context(), "RENAME TABLE mq_outbox TO elsewhere")
	require.NoError(t, err)
	dump := func() string {
		return mysqltest.Dump(t, db, "SELECT id, status, event_seq FROM orders ORDER BY id", "SELECT order_id, seq FROM order_event ORDER BY id",
			"SELECT gid, state FROM payment_attempt")
	}
	before := dump()
	require.Error(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error {
		return batch.Apply(t.Context(), tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: id, GID: "gid"})
	}))
	require.Error(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error {
		return batch.Apply(t.Context(), tx, store.Settle(order.CancelPayment)(), mysql.Holding{Subject: id, GID: "gid"})
	}))
	require.Error(t, store.Close(t.Context(), member, unpaid, order.ByMember))
	o, err := order.New("new", member, "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
	require.NoError(t, err)
	require.Error(t, store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
	assert.Equal(t, before, dump())
}
