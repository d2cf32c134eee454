package delivery_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/internal/delivery"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// add creates an unpaid order.
func add(t *testing.T, store *mysql.Store, id string) {
	t.Helper()
	o, err := order.New(id, "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
}

// told returns an event that the warehouse publishes about orderID.
func told(t *testing.T, orderID string, seq int64, typ string) mq.Event {
	t.Helper()
	data, err := mq.Data(&eventv1.DeliveryChanged{DeliveryId: "d", OrderId: orderID})
	require.NoError(t, err)
	return mq.Event{ID: mq.NewID(), Source: "/wms", Type: typ, Subject: orderID, Sequence: seq, Time: time.Now(), Data: data}
}

// TestEvents delivers every event in every status: one that is too early comes again, a late one changes nothing, an impossible one is an error.
func TestEvents(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	events := delivery.New(store)
	add(t, store, "order-1")
	handle := func(e mq.Event) error {
		return database.InTx(t.Context(), db, func(tx *sql.Tx) error { return events.Handle(t.Context(), tx, e) })
	}
	const shipped, delivered, notYet = eventv1.TypeDeliveryShipped, eventv1.TypeDeliveryDelivered, order.Status("not yet")
	for status, want := range map[order.Status]map[string]order.Status{
		order.Created:   {},
		order.Updating:  {shipped: notYet},
		order.Paid:      {shipped: order.Shipped},
		order.Shipped:   {shipped: order.Shipped, delivered: order.Completed},
		order.Completed: {shipped: order.Completed, delivered: order.Completed},
		order.Refunding: {shipped: notYet},
		order.Refunded:  {},
		order.Canceled:  {},
	} {
		for _, typ := range []string{shipped, delivered} {
			_, err := db.ExecContext(t.Context(), "UPDATE orders SET status = ?", status)
			require.NoError(t, err)
			before := mysqltest.Dump(t, db, "SELECT COUNT(*) FROM order_event")
			err = handle(told(t, "order-1", 1, typ))
			expected := want[typ]
			switch expected {
			case notYet:
				assert.ErrorIs(t, err, mq.ErrNotYet, "%s on %s", typ, status)
				expected = status
			case "":
				assert.ErrorIs(t, err, order.ErrState, "%s on %s", typ, status)
				assert.NotErrorIs(t, err, mq.ErrNotYet, "%s on %s", typ, status)
				expected = status
			default:
				assert.NoError(t, err, "%s on %s", typ, status)
			}
			assert.Equal(t, string(expected)+"\n--\n", mysqltest.Dump(t, db, "SELECT status FROM orders"), "%s on %s", typ, status)
			if expected == status {
				assert.Equal(t, before, mysqltest.Dump(t, db, "SELECT COUNT(*) FROM order_event"), "%s on %s records nothing", typ, status)
			}
		}
	}
	require.ErrorIs(t, handle(told(t, "order-2", 1, shipped)), order.ErrNotFound)
	require.NoError(t, handle(told(t, "order-2", 1, "delivery.weighed")), "what order does not follow")
	broken := told(t, "order-1", 1, shipped)
	broken.Data = []byte("[]")
	require.Error(t, handle(broken))
}

// TestFollows lets orders follow events that arrive in the worst way: the second first, each twice, while the order is being paid, and one for
// an order that is canceled.
func TestFollows(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	add(t, store, "paid")
	add(t, store, "updating")
	add(t, store, "canceled")
	_, err := db.ExecContext(t.Context(), "UPDATE orders SET status = UPPER(CONVERT(id USING utf8mb4))")
	require.NoError(t, err)
	server := rocketmqtest.Shared(t)
	broker, s := server.Dial(t), delivery.Subscription()
	s.Topic, s.Tries, s.LongestPause = server.Topic(t), 3, 200*time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- broker.Consume(ctx, db, s, delivery.New(store).Handle) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-stopped)
	})
	for _, id := range []string{"paid", "updating", "canceled"} {
		for _, e := range []mq.Event{told(t, id, 2, eventv1.TypeDeliveryDelivered), told(t, id, 1, eventv1.TypeDeliveryShipped)} {
			for range 2 {
				require.NoError(t, broker.Publish(ctx, s.Topic, e))
			}
		}
	}
	await := func(want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			for _, w := range want {
				assert.Contains(c, mysqltest.Dump(t, db, "SELECT id, status, event_seq FROM orders",
					"SELECT subject, seq, state, waits > 2 FROM mq_inbox"), w+"\n")
			}
		}, 30*time.Second, 20*time.Millisecond)
	}
	await("paid COMPLETED 3", "updating UPDATING 1", "canceled CANCELED 1", "updating 1 WAITING 1", "canceled 1 DEAD 0")
	_, err = db.ExecContext(t.Context(), "UPDATE orders SET status = 'PAID' WHERE id = 'updating'")
	require.NoError(t, err)
	await("updating COMPLETED 3", "updating 2 DONE 0")
	letters, err := mq.NewDeadLetters(db, broker.Order).List(t.Context(), s.Group, 0, 10)
	require.NoError(t, err)
	require.Len(t, letters, 1, "the second waits behind the first")
	assert.Contains(t, letters[0].Reason, order.ErrState.Error())
}
