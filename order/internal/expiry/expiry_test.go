package expiry_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	chassis "example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/order/internal/expiry"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { mqtest.Main(m) }

// add writes down an order of member m, payable for ttl.
func add(t *testing.T, store *mysql.Store, id string, ttl time.Duration) {
	t.Helper()
	o, err := order.New(id, "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, ttl, mysql.Key{Key: id}, func(order.Order) (mysql.Answer, error) {
		return mysql.Answer{Hash: []byte{0}, Reply: []byte{0}}, nil
	}))
}

func run(t *testing.T, work func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- work(ctx) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-stopped)
	})
}

// TestTimers lets orders of every kind come to the end of their time, without the sweep: those that nobody paid are closed within moments,
// others are left alone; one whose payment was being opened is closed when that is given up.
func TestTimers(t *testing.T) {
	t.Parallel()
	server := mqtest.Shared(t)
	require.NoError(t, mq.CreateTopic(t.Context(), server.NameServer, server.Broker, eventv1.TopicOrderTimers, 4))
	require.NoError(t, mq.CreateTopic(t.Context(), server.NameServer, server.Broker, eventv1.TopicOrders, 4))
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	outbox := mq.NewOutbox(db, server.Dial(t), mq.OutboxConfig{})
	store := mysql.NewStore(db, outbox)
	run(t, outbox.Relay)
	run(t, store.RunTimers)
	ctx := t.Context()
	inTx := func(f func(tx *sql.Tx) error) {
		t.Helper()
		require.NoError(t, chassis.InTx(ctx, db, f))
	}
	add(t, store, "warm up", time.Second) // the first message waits until the consumer is there
	await := func(want string, queries ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, want, mysqltest.Dump(t, db, queries...)) },
			30*time.Second, 10*time.Millisecond)
	}
	await("CANCELED\n--\n", "SELECT status FROM orders")

	const ttl = 3 * time.Second
	for _, id := range []string{"paid", "refused", "by member", "opened", "held"} {
		add(t, store, id, ttl)
		if id == "by member" {
			require.NoError(t, store.Close(ctx, "m", id, order.ByMember))
			continue
		}
		opened, err := store.OpenAttempt(ctx, order.Payment, "m", id, "gid-"+id)
		require.NoError(t, err)
		require.True(t, opened)
		if id == "opened" {
			continue
		}
		inTx(func(tx *sql.Tx) error { return store.Hold(ctx, tx, order.Payment, id, "gid-"+id) })
	}
	inTx(func(tx *sql.Tx) error { return store.ConfirmPayment(ctx, tx, "paid", "gid-paid") })
	inTx(func(tx *sql.Tx) error { return store.CancelPayment(ctx, tx, "refused", "gid-refused") })
	for i := range 20 {
		add(t, store, fmt.Sprintf("unpaid %02d", i), ttl)
	}
	await("20\n--\n", "SELECT COUNT(*) FROM orders WHERE id LIKE 'unpaid%' AND status = 'CANCELED' AND reason = 'EXPIRED'")
	var early, late float64
	var woken int // sooner than the timers' sweep looks, which leaves them 3 s
	require.NoError(t, db.QueryRowContext(ctx, `SELECT MIN(us) / 1000000, MAX(us) / 1000000, SUM(us < 3000000)
		FROM (SELECT TIMESTAMPDIFF(MICROSECOND, o.expires_at, e.created_at) AS us
			FROM orders o JOIN order_event e ON e.order_id = o.id AND e.event_type = 'order.canceled' WHERE o.id LIKE 'unpaid%') AS closed`).
		Scan(&early, &late, &woken))
	t.Logf("closed %.3f to %.3f s behind their time, %d of 20 by the broker's wake-up", early, late, woken)
	assert.GreaterOrEqual(t, early, 0.0)
	assert.GreaterOrEqual(t, woken, 5)
	assert.Less(t, late, 8.0)

	// Later than all timers, the rest is as it was.
	await("20 FIRED\n--\n", "SELECT COUNT(*), state FROM mq_timer WHERE id LIKE 'expiry:unpaid%' GROUP BY state")
	require.Equal(t, "by member CANCELED BY_MEMBER 2\nheld UPDATING  1\nopened CREATED  1\npaid PAID  2\nrefused CANCELED PAYMENT_TIMEOUT 2\n--\n",
		mysqltest.Dump(t, db, "SELECT id, status, reason, event_seq FROM orders WHERE id IN ('paid', 'refused', 'by member', 'opened', 'held') ORDER BY id"))
	await("expiry:by member CANCELED\nexpiry:held FIRED\nexpiry:opened ARMED\nexpiry:paid CANCELED\nexpiry:refused CANCELED\n--\n", `SELECT id, state FROM mq_timer
		WHERE id IN ('expiry:paid', 'expiry:refused', 'expiry:by member', 'expiry:opened', 'expiry:held') ORDER BY id`)
	held, err := store.AbandonAttempt(ctx, order.Payment, "opened", "gid-opened")
	require.NoError(t, err)
	require.False(t, held)
	await("CANCELED EXPIRED\n--\n", "SELECT status, reason FROM orders WHERE id = 'opened'")
	inTx(func(tx *sql.Tx) error { return store.ConfirmPayment(ctx, tx, "held", "gid-held") })
	require.Equal(t, "PAID  2\n--\n", mysqltest.Dump(t, db, "SELECT status, reason, event_seq FROM orders WHERE id = 'held'"), "it was begun in time")
}

// TestBackstop: the sweep closes what no timer closed, more than 5 s behind its time and not before, and the timer is off then.
func TestBackstop(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	for _, id := range []string{"just", "long", "older"} {
		add(t, store, id, time.Hour)
	}
	for _, stmt := range []string{
		"UPDATE orders SET expires_at = NOW(3) WHERE id = 'just'",
		"UPDATE orders SET expires_at = TIMESTAMPADD(SECOND, -6, NOW(3)) WHERE id IN ('long', 'older')",
		"DELETE FROM mq_timer WHERE id = 'expiry:older'", // of a version without timers
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	run(t, expiry.New(store, 50*time.Millisecond).Run)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "just CREATED \nlong CANCELED EXPIRED\nolder CANCELED EXPIRED\n--\nexpiry:just ARMED\nexpiry:long CANCELED\n--\n",
			mysqltest.Dump(t, db, "SELECT id, status, reason FROM orders ORDER BY id", "SELECT id, state FROM mq_timer ORDER BY id"))
	}, 4*time.Second, 10*time.Millisecond)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "1\n--\n", mysqltest.Dump(t, db, `SELECT TIMESTAMPDIFF(MICROSECOND, o.expires_at, e.created_at) >= 5000000
			FROM orders o JOIN order_event e ON e.order_id = o.id AND e.event_type = 'order.canceled' WHERE o.id = 'just'`))
	}, 20*time.Second, 50*time.Millisecond)
}
