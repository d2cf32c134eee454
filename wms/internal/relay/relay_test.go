package relay_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/relay"
	"example.com/fourfold/wms/migrations"
)

const keyText = "k1:00112233445566778899aabbccddeeff"

func keys(t testing.TB) tcc.Keys {
	k, err := tcc.ParseKeys(keyText)
	require.NoError(t, err)
	return k
}

// times are short, so that a test sees several rounds.
var times = relay.Times{
	Every: 10 * time.Millisecond, Call: 300 * time.Millisecond, Lease: time.Second,
	LongestPause: 200 * time.Millisecond, Alert: time.Minute,
}

// patient times are such that no call is ever repeated for being slow.
var patient = relay.Times{
	Every: 10 * time.Millisecond, Call: 10 * time.Second, Lease: 30 * time.Second,
	LongestPause: 200 * time.Millisecond, Alert: time.Minute,
}

// ship writes slips of n orders and takes them to SHIPPED and DELIVERED: two events each. It gives the orders.
func ship(t *testing.T, db *sql.DB, n int) []string {
	t.Helper()
	store := mysql.NewStore(db)
	orders := make([]string, n)
	for i := range orders {
		orders[i] = fmt.Sprintf("order-%02d", i)
		id, err := uuid.NewV7()
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(),
			"INSERT INTO delivery_slip (id, order_id, gid, status, address) VALUES (?, ?, '', 'PICKED', '')", id.String(), orders[i])
		require.NoError(t, err)
		for _, event := range []delivery.Event{delivery.Ship, delivery.Deliver} {
			_, err = store.Work(t.Context(), id.String(), event)
			require.NoError(t, err)
		}
	}
	return orders
}

// running is a relay.
type running struct {
	// cancel tells it to stop, stop also waits until it has.
	cancel, stop func()
}

// start runs a relay to addr, at most until the test ends.
func start(t *testing.T, db *sql.DB, addr string, times relay.Times) running {
	t.Helper()
	conn, err := service.Dial(addr)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- relay.New(mysql.NewStore(db), relay.ToOrder(conn, keys(t)), times).Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-stopped)
		_ = conn.Close()
	})
	t.Cleanup(stop)
	return running{cancel, stop}
}

// pending counts what is not marked as delivered.
func pending(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM outbox WHERE delivered_at IS NULL").Scan(&n))
	return n
}

func awaitEmpty(t *testing.T, db *sql.DB, within time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool { return pending(t, db) == 0 }, within, 10*time.Millisecond, "everything is marked as delivered")
}

// TestHealthy: three relays side by side send every event exactly once, and nothing more when there is nothing more.
func TestHealthy(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	r := newReceiver(t)
	orders := ship(t, db, 40)
	for range 3 {
		start(t, db, r.addr, patient)
	}
	awaitEmpty(t, db, 15*time.Second)
	require.True(t, r.tookAll(2, orders...))
	r.requireRight(t)
	require.Len(t, r.arrivals(""), 2*len(orders))
	require.Equal(t, "80\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM outbox"), "delivered rows are kept")
}

// TestFailsHangsRecovers: a receiver that refuses, hangs, takes without answering, and breaks connections gets everything in the
// end, in order, from three relays.
func TestFailsHangsRecovers(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	r := newReceiver(t)
	r.answers(func(ctx context.Context, e *orderv1.DeliveryEvent, nth int) error {
		if nth > 4 {
			return nil // recovered
		}
		switch rand.IntN(4) {
		case 0:
			return errors.New("not now")
		case 1:
			<-ctx.Done() // hangs; when the caller is gone it fails
			return ctx.Err()
		case 2:
			<-ctx.Done() // taken, but the answer is lost
		}
		return nil
	})
	orders := ship(t, db, 20)
	for range 3 {
		start(t, db, r.addr, times)
	}
	for range 3 {
		n := len(r.arrivals(""))
		require.Eventually(t, func() bool { return len(r.arrivals("")) > n+5 || pending(t, db) == 0 }, 10*time.Second, time.Millisecond)
		r.stop()
		r.start(t)
	}
	awaitEmpty(t, db, 30*time.Second)
	require.True(t, r.tookAll(2, orders...))
	r.requireRight(t)
}

// TestOnlyItsOwnOrderWaits: an order whose event is never taken, and many whose events hang, keep nobody else waiting; their next
// events do not overtake; the pauses grow; and when the receiver recovers they go on.
func TestOnlyItsOwnOrderWaits(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	r := newReceiver(t)
	bad := map[string]bool{}
	for i := range 10 {
		bad[fmt.Sprintf("order-%02d", i)] = true
	}
	recovered := make(chan struct{})
	r.answers(func(_ context.Context, e *orderv1.DeliveryEvent, _ int) error {
		if bad[e.GetOrderId()] && e.GetOrderId() != "order-00" {
			<-recovered
		}
		if bad[e.GetOrderId()] {
			return errors.New("not now")
		}
		return nil
	})
	orders := ship(t, db, 40)
	slow := patient // a call hangs for longer than this test
	slow.Call, slow.Lease, slow.LongestPause = time.Minute, 3*time.Minute, 10*time.Second
	start(t, db, r.addr, slow)
	goOn := sync.OnceFunc(func() { close(recovered) })
	t.Cleanup(goOn)
	require.Eventually(t, func() bool { return r.tookAll(2, orders[10:]...) }, 15*time.Second, 5*time.Millisecond)

	// 10 + 20 + 40 + 80 + 160 ms of pauses lie behind the sixth attempt.
	require.Eventually(t, func() bool { return len(r.arrivals("order-00")) >= 6 }, 10*time.Second, 5*time.Millisecond)
	came := r.arrivals("order-00")
	for i := 1; i < 6; i++ {
		// The database's clock has milliseconds.
		assert.GreaterOrEqual(t, came[i].at.Sub(came[i-1].at), slow.Every<<(i-1)-3*time.Millisecond, "pause %d", i)
	}
	for id := range bad {
		for _, a := range r.arrivals(id) {
			require.Equal(t, int64(1), a.seq, "%s", id)
		}
	}
	require.Equal(t, 20, pending(t, db))
	r.answers(nil)
	goOn()
	awaitEmpty(t, db, 20*time.Second)
	require.True(t, r.tookAll(2, orders...))
	r.requireRight(t)
}

// TestOrderDown: nobody listens; what was shipped meanwhile arrives when somebody does.
func TestOrderDown(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	r := newReceiver(t)
	r.stop()
	start(t, db, r.addr, patient)
	orders := ship(t, db, 5)
	require.Eventually(t, func() bool {
		var tried int
		require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM outbox WHERE attempts >= 3").Scan(&tried))
		return tried == len(orders)
	}, 10*time.Second, 10*time.Millisecond, "the first events of all orders are tried again and again")
	require.Equal(t, 2*len(orders), pending(t, db))
	r.start(t)
	awaitEmpty(t, db, 10*time.Second)
	require.True(t, r.tookAll(2, orders...))
	r.requireRight(t)
	require.Len(t, r.arrivals(""), 2*len(orders))
}

// TestStopFinishesWhatIsUnderWay: a relay that is told to stop brings the call under way to its end, and begins no other.
func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	r := newReceiver(t)
	calling, answer := make(chan struct{}), make(chan struct{})
	r.answers(func(context.Context, *orderv1.DeliveryEvent, int) error {
		close(calling) // the second call would panic
		<-answer
		return nil
	})
	ship(t, db, 1)
	run := start(t, db, r.addr, patient)
	select {
	case <-calling:
	case <-time.After(10 * time.Second):
		close(answer)
		t.Fatal("no call comes")
	}
	run.cancel()
	close(answer)
	run.stop()
	require.Len(t, r.arrivals(""), 1)
	require.Equal(t, "1 1\n2 -\n--\n", mysqltest.Dump(t, db, "SELECT seq, IF(delivered_at IS NULL, NULL, 1) FROM outbox ORDER BY seq"))
}

// TestDatabaseRestarts: the relay lives through an outage of its database, and what was there before is delivered behind it.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	server, err := mysqltest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	require.NoError(t, server.Exec(t.Context(), "CREATE DATABASE shop_wms"))
	db := open(t, server.DSN("shop_wms"))
	r := newReceiver(t)
	never := func(context.Context, *orderv1.DeliveryEvent, int) error { return errors.New("not now") }
	r.answers(never)
	orders := ship(t, db, 5)
	start(t, db, r.addr, times)
	require.Eventually(t, func() bool { return len(r.arrivals("")) >= 10 }, 10*time.Second, 5*time.Millisecond)
	server.Kill()
	r.answers(nil)
	// A call that was under way is taken now, but cannot be marked.
	require.NoError(t, server.Restart())
	require.Eventually(t, func() bool {
		var n int
		return db.QueryRow("SELECT COUNT(*) FROM outbox WHERE delivered_at IS NULL").Scan(&n) == nil && n == 0
	}, 20*time.Second, 20*time.Millisecond)
	require.True(t, r.tookAll(2, orders...))
	r.requireRight(t)
}
