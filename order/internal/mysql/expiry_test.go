package mysql_test

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
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

// payable writes down an order of member m, payable for ttl.
func payable(t *testing.T, store *mysql.Store, id string, ttl time.Duration) {
	t.Helper()
	o, err := order.New(id, "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, ttl, 0, func(*sql.Tx, order.Order) error { return nil }))
}

func background(t *testing.T, work func(context.Context) error) {
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
	background(t, outbox.Relay)
	background(t, store.RunTimers)
	payable(t, store, "warm up", time.Second) // the first message waits until the consumer is there
	await(t, db, "CANCELED\n--\n", "SELECT status FROM orders")
	return db, store
}

// TestTimers lets orders of every kind come to the end of their time: those that nobody paid are closed within moments,
// others are left alone; one whose payment was being opened is closed when that is given up.
func TestTimers(t *testing.T) {
	t.Parallel()
	db, store := timed(t)
	ctx := t.Context()
	inTx := func(f func(tx *sql.Tx) error) {
		t.Helper()
		require.NoError(t, database.InTx(ctx, db, f))
	}
	await := func(want string, queries ...string) { t.Helper(); await(t, db, want, queries...) }
	const ttl = 3 * time.Second
	for _, id := range []string{"paid", "refused", "by member", "opened", "held"} {
		payable(t, store, id, ttl)
		if id == "by member" {
			require.NoError(t, store.Close(ctx, "m", id, order.ByMember))
			continue
		}
		_, opened, err := store.OpenAttempt(ctx, order.Payment, "m", id, "gid-"+id)
		require.NoError(t, err)
		require.True(t, opened)
		if id == "opened" {
			continue
		}
		inTx(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Hold(order.Payment)(), mysql.Holding{Subject: id, GID: "gid-" + id})
		})
	}
	inTx(func(tx *sql.Tx) error {
		return batch.Apply(ctx, tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: "paid", GID: "gid-paid"})
	})
	inTx(func(tx *sql.Tx) error {
		return batch.Apply(ctx, tx, store.Settle(order.CancelPayment)(), mysql.Holding{Subject: "refused", GID: "gid-refused"})
	})
	for i := range 20 {
		payable(t, store, fmt.Sprintf("unpaid %02d", i), ttl)
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
	inTx(func(tx *sql.Tx) error {
		return batch.Apply(ctx, tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: "held", GID: "gid-held"})
	})
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
		_, opened, err := store.OpenAttempt(ctx, order.Payment, "m", id, gid)
		if !assert.NoError(t, err, id) {
			return
		}
		if !opened {
			assert.Equal(t, "CANCELED EXPIRED", state(id), "%s: not let in", id)
			return
		}
		for _, phase := range []func(tx *sql.Tx) error{
			func(tx *sql.Tx) error {
				return batch.Apply(ctx, tx, store.Hold(order.Payment)(), mysql.Holding{Subject: id, GID: gid})
			},
			func(tx *sql.Tx) error {
				return batch.Apply(ctx, tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: id, GID: gid})
			},
		} {
			time.Sleep(rand.N(1500 * time.Millisecond))
			assert.NoError(t, database.InTx(ctx, db, phase), "%s: let in", id)
		}
		assert.Equal(t, "PAID ", state(id), "%s: let in", id)
	}
	var wg sync.WaitGroup
	for n := range 100 {
		id := fmt.Sprintf("raced %02d", n)
		payable(t, store, id, 2*time.Second)
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
