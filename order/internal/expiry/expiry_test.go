package expiry_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	chassis "example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/internal/expiry"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// add creates an order of member m, payable for ttl.
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

func await(t *testing.T, db *sql.DB, want string, queries ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, want, mysqltest.Dump(t, db, queries...)) },
		30*time.Second, 10*time.Millisecond)
}

// timed returns a store whose timers run and have closed one order.
func timed(t *testing.T) (*sql.DB, *mysql.Store) {
	t.Helper()
	server := rocketmqtest.Shared(t)
	server.Create(t, eventv1.TopicOrderTimers)
	server.Create(t, eventv1.TopicOrders)
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	outbox := mq.NewOutbox(db, server.Dial(t), mq.OutboxConfig{})
	store := mysql.NewStore(db, outbox)
	run(t, outbox.Relay)
	run(t, store.RunTimers)
	add(t, store, "warm up", time.Second) // the first message waits until the consumer is there
	await(t, db, "CANCELED\n--\n", "SELECT status FROM orders")
	return db, store
}

// TestTimers lets orders of every kind come to the end of their time, without the sweep: unpaid ones are closed within moments and others are
// left alone; one whose payment was being opened is closed when that attempt is given up.
func TestTimers(t *testing.T) {
	t.Parallel()
	db, store := timed(t)
	ctx := t.Context()
	inTx := func(f func(tx *sql.Tx) error) {
		t.Helper()
		require.NoError(t, chassis.InTx(ctx, db, f))
	}
	await := func(want string, queries ...string) { t.Helper(); await(t, db, want, queries...) }
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

	// After all timers the rest is unchanged.
	await("20 FIRED\n--\n", "SELECT COUNT(*), state FROM mq_timer WHERE id LIKE 'expiry:unpaid%' GROUP BY state")
	require.Equal(t,
		"by member CANCELED BY_MEMBER 2\nheld UPDATING  1\nopened CREATED  1\npaid PAID  2\nrefused CANCELED PAYMENT_TIMEOUT 2\n--\n",
		mysqltest.Dump(t, db,
			"SELECT id, status, reason, event_seq FROM orders WHERE id IN ('paid', 'refused', 'by member', 'opened', 'held') ORDER BY id"))
	await("expiry:by member CANCELED\nexpiry:held FIRED\nexpiry:opened ARMED\nexpiry:paid CANCELED\nexpiry:refused CANCELED\n--\n",
		`SELECT id, state FROM mq_timer
		WHERE id IN ('expiry:paid', 'expiry:refused', 'expiry:by member', 'expiry:opened', 'expiry:held') ORDER BY id`)
	held, err := store.AbandonAttempt(ctx, order.Payment, "opened", "gid-opened")
	require.NoError(t, err)
	require.False(t, held)
	await("CANCELED EXPIRED\n--\n", "SELECT status, reason FROM orders WHERE id = 'opened'")
	inTx(func(tx *sql.Tx) error { return store.ConfirmPayment(ctx, tx, "held", "gid-held") })
	require.Equal(t, "PAID  2\n--\n", mysqltest.Dump(t, db, "SELECT status, reason, event_seq FROM orders WHERE id = 'held'"),
		"it was begun in time")
}

// TestPayRacesTheTimer pays orders within a tenth of a second of their end and in the second after it, in which their timers come; some well
// before, and some after the timer has fired. Payments take their time, so that timers come in the middle of some. Each ends in one of two ways:
// a caller that was let in has paid, and one that was not is told that the order is closed already.
func TestPayRacesTheTimer(t *testing.T) {
	t.Parallel()
	db, store := timed(t)
	ctx := t.Context()
	state := func(id string) string {
		s, err := store.State(ctx, id)
		assert.NoError(t, err)
		return fmt.Sprint(s.Status, " ", s.Reason)
	}
	pay := func(id string) {
		gid := "gid-" + id
		opened, err := store.OpenAttempt(ctx, order.Payment, "m", id, gid)
		if !assert.NoError(t, err, id) {
			return
		}
		if !opened {
			assert.Equal(t, "CANCELED EXPIRED", state(id), "%s: not let in", id)
			return
		}
		for _, phase := range []func(tx *sql.Tx) error{
			func(tx *sql.Tx) error { return store.Hold(ctx, tx, order.Payment, id, gid) },
			func(tx *sql.Tx) error { return store.ConfirmPayment(ctx, tx, id, gid) },
		} {
			time.Sleep(rand.N(1500 * time.Millisecond))
			assert.NoError(t, chassis.InTx(ctx, db, phase), "%s: let in", id)
		}
		assert.Equal(t, "PAID ", state(id), "%s: let in", id)
	}
	var wg sync.WaitGroup
	for n := range 100 {
		id := fmt.Sprintf("raced %02d", n)
		add(t, store, id, 2*time.Second)
		o, err := store.Order(ctx, "m", id)
		require.NoError(t, err)
		wg.Go(func() {
			switch n % 10 {
			case 0:
			case 1:
				assert.Eventually(t, func() bool { return state(id) != "CREATED " }, 30*time.Second, 10*time.Millisecond)
			case 2, 3, 4:
				time.Sleep(time.Until(o.ExpiresAt) + rand.N(time.Second))
			default:
				time.Sleep(time.Until(o.ExpiresAt) + rand.N(200*time.Millisecond) - 100*time.Millisecond)
			}
			pay(id)
		})
	}
	wg.Wait()
	await(t, db, "0\n--\n", "SELECT COUNT(*) FROM mq_timer WHERE state = 'ARMED'")
	ends := mysqltest.Dump(t, db, `SELECT o.status, o.reason, GROUP_CONCAT(e.event_type ORDER BY e.seq), t.state FROM orders o
		JOIN order_event e ON e.order_id = o.id JOIN mq_timer t ON t.id = CONCAT('expiry:', o.id) WHERE o.id LIKE 'raced%' GROUP BY o.id`)
	counts := map[string]int{}
	for end := range strings.Lines(strings.TrimSuffix(ends, "--\n")) {
		counts[strings.TrimSpace(end)]++
	}
	var met int
	require.NoError(t, db.QueryRowContext(ctx, "SELECT COUNT(*) FROM mq_inbox WHERE waits > 0").Scan(&met))
	t.Logf("%v; %d timers met an attempt to pay", counts, met)
	const paid, expired = "PAID  order.created,order.paid ", "CANCELED EXPIRED order.created,order.canceled "
	// The timer of a paid order was disarmed, or fired while the payment held the order. That of a closed order fired, or the caller that came
	// to pay closed it sooner.
	assert.Equal(t, 100, counts[paid+"CANCELED"]+counts[paid+"FIRED"]+counts[expired+"FIRED"]+counts[expired+"CANCELED"], "%v", counts)
	assert.Positive(t, counts[paid+"CANCELED"])
	assert.Positive(t, counts[paid+"FIRED"]+met, "no timer came in the middle of a payment")
	assert.GreaterOrEqual(t, counts[expired+"FIRED"], 10)
}

// TestBackstop tests that the sweep closes what no timer closed, more than 5 s after its time and not before, and disarms the timer.
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
		"DELETE FROM mq_timer WHERE id = 'expiry:older'", // as in a version without timers
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
