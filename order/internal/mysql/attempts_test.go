package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

const member = "member-1"

func newOrder(t *testing.T) (*sql.DB, *mysql.Store, string) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	return db, store, addOrder(t, store)
}

func addOrder(t *testing.T, store *mysql.Store) string {
	t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	o, err := order.New(id, member, "Main Street 1", []order.Line{{SKU: "a", Name: "阿", PriceCents: 500, Quantity: 2}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
	return id
}

func begin(t *testing.T, db *sql.DB, store *mysql.Store, id, gid string) error {
	t.Helper()
	return database.InTx(t.Context(), db, func(tx *sql.Tx) error {
		return batch.Apply(t.Context(), tx, store.Hold(order.Payment)(), mysql.Holding{Subject: id, GID: gid})
	})
}

// TestOneOpenAttempt tests that of 20 concurrent payers one opens the attempt.
func TestOneOpenAttempt(t *testing.T) {
	t.Parallel()
	_, store, id := newOrder(t)
	var opened atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, ok, err := store.OpenAttempt(context.Background(), order.Payment, member, id, fmt.Sprint("gid-", i))
			if assert.NoError(t, err) && ok {
				opened.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, opened.Load())
}

func TestSomebodyElsesOrderIsNotFound(t *testing.T) {
	t.Parallel()
	_, store, id := newOrder(t)
	_, _, err := store.OpenAttempt(t.Context(), order.Payment, "member-2", id, "gid")
	require.ErrorIs(t, err, order.ErrNotFound)
	_, err = store.Order(t.Context(), "member-2", id)
	require.ErrorIs(t, err, order.ErrNotFound)
	require.ErrorIs(t, store.Close(t.Context(), "member-2", id, order.ByMember), order.ErrNotFound)
}

// TestOpenedBefore: the answer to the commit of an attempt was lost. Opened again, it is found open, and is no other attempt.
func TestOpenedBefore(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	for range 2 {
		_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-1")
		require.NoError(t, err)
		require.True(t, opened)
	}
	require.Equal(t, "gid-1 OPEN\n--\n", mysqltest.Dump(t, db, "SELECT gid, state FROM payment_attempt"))
}

// TestAbandonedAttemptCannotBegin tests that a late Try finds its attempt abandoned, and that another attempt can pay the order.
func TestAbandonedAttemptCannotBegin(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-1")
	require.NoError(t, err)
	held, err := store.AbandonAttempt(t.Context(), order.Payment, id, "gid-1")
	require.NoError(t, err)
	require.False(t, held)

	require.ErrorIs(t, begin(t, db, store, id, "gid-1"), order.ErrState)
	_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-2")
	require.NoError(t, err)
	require.True(t, opened)
	require.ErrorIs(t, begin(t, db, store, id, "gid-1"), order.ErrState)
	require.NoError(t, begin(t, db, store, id, "gid-2"))
}

// TestHeldAttemptIsNotAbandoned tests an attempt whose Try landed after all: abandoning it would let a second transaction pay the order.
func TestHeldAttemptIsNotAbandoned(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-1")
	require.NoError(t, err)
	require.NoError(t, begin(t, db, store, id, "gid-1"))
	held, err := store.AbandonAttempt(t.Context(), order.Payment, id, "gid-1")
	require.NoError(t, err)
	require.True(t, held)
	state, err := store.State(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, mysql.State{Status: order.Updating, GID: "gid-1", Busy: true}, state)
}

// TestBeginAgainstAbandon tests that, whichever comes first, the order is held by an open attempt or payable without one.
func TestBeginAgainstAbandon(t *testing.T) {
	t.Parallel()
	db, store, _ := newOrder(t)
	for range 50 {
		id := addOrder(t, store)
		_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-"+id)
		require.NoError(t, err)
		var beginErr, abandonErr error
		var held bool
		var wg sync.WaitGroup
		wg.Go(func() { beginErr = begin(t, db, store, id, "gid-"+id) })
		wg.Go(func() { held, abandonErr = store.AbandonAttempt(t.Context(), order.Payment, id, "gid-"+id) })
		wg.Wait()
		require.NoError(t, abandonErr)
		state, err := store.State(t.Context(), id)
		require.NoError(t, err)
		if held {
			require.NoError(t, beginErr)
			require.Equal(t, mysql.State{Status: order.Updating, GID: "gid-" + id, Busy: true}, state)
		} else {
			require.ErrorIs(t, beginErr, order.ErrState)
			require.Equal(t, mysql.State{Status: order.Created}, state)
		}
	}
}

// TestPayAgainstClose tests that an order is closed or held, never both.
func TestPayAgainstClose(t *testing.T) {
	t.Parallel()
	db, store, _ := newOrder(t)
	for range 50 {
		id := addOrder(t, store)
		_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-"+id)
		require.NoError(t, err)
		var beginErr, closeErr error
		var wg sync.WaitGroup
		wg.Go(func() { beginErr = begin(t, db, store, id, "gid-"+id) })
		wg.Go(func() { closeErr = store.Close(t.Context(), member, id, order.ByMember) })
		wg.Wait()
		require.True(t, (beginErr == nil) != (closeErr == nil), "begin: %v, close: %v", beginErr, closeErr)
	}
}

// TestLeasesAreExclusive tests that two sweepers never look after the same attempt at the same time.
func TestLeasesAreExclusive(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-1")
	require.NoError(t, err)
	got, err := store.LeaseOverdue(t.Context(), time.Hour, time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, got, "not old enough")

	_, err = db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = TIMESTAMPADD(SECOND, -40, NOW(3))")
	require.NoError(t, err)
	got, err = store.LeaseOverdue(t.Context(), 30*time.Second, time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, "gid-1", got[0].GID)
	assert.GreaterOrEqual(t, got[0].Age, 40*time.Second)
	got, err = store.LeaseOverdue(t.Context(), 30*time.Second, time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, got, "leased to another")

	_, err = db.ExecContext(t.Context(), "UPDATE payment_attempt SET lease_until = TIMESTAMPADD(SECOND, -1, NOW(3))")
	require.NoError(t, err)
	got, err = store.LeaseOverdue(t.Context(), 30*time.Second, time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, got, 1, "the lease ran out")
}

// TestOrdersPageNewestFirst walks the pages of a member.
func TestOrdersPageNewestFirst(t *testing.T) {
	t.Parallel()
	_, store, first := newOrder(t)
	second, third := addOrder(t, store), addOrder(t, store)
	page, err := store.Orders(t.Context(), member, "", 2)
	require.NoError(t, err)
	require.Len(t, page, 2)
	assert.Equal(t, []string{third, second}, []string{page[0].ID, page[1].ID})
	assert.Equal(t, "阿", page[0].Lines[0].Name)
	page, err = store.Orders(t.Context(), member, second, 2)
	require.NoError(t, err)
	require.Len(t, page, 1)
	assert.Equal(t, first, page[0].ID)
}

// TestSameKeyTwice tests that an order and its answer are written together or not at all.
func TestSameKeyTwice(t *testing.T) {
	t.Parallel()
	db, store, _ := newOrder(t)
	ctx := service.WithIdempotencyKey(identity.NewContext(t.Context(), identity.Caller{MemberID: member}), "k")
	create := func() error {
		call, err := idempotency.New(db).Call(ctx, "orders", &orderv1.CreateOrderRequest{})
		require.NoError(t, err)
		o, err := order.New(uuid.Must(uuid.NewV7()).String(), member, "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
		require.NoError(t, err)
		return store.Create(ctx, o, time.Hour, 0, func(tx *sql.Tx, o order.Order) error {
			return call.Keep(ctx, tx, 201, &orderv1.Order{Id: o.ID})
		})
	}
	var created atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := create(); err == nil {
				created.Add(1)
			} else {
				assert.ErrorIs(t, err, idempotency.ErrAnswered)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, created.Load())
	assert.Equal(t, "2 2 2 1\n--\n", mysqltest.Dump(t, db, "SELECT (SELECT COUNT(*) FROM orders), (SELECT COUNT(*) FROM order_line), "+
		"(SELECT COUNT(*) FROM order_event), (SELECT COUNT(*) FROM idempotency)"))
}

// timeout does what the timer of an order does, and reports whether that closed it. The error is mq.ErrNotYet or none.
func timeout(t *testing.T, db *sql.DB, store *mysql.Store, id string) (closed bool, err error) {
	t.Helper()
	err = database.InTx(t.Context(), db, func(tx *sql.Tx) (err error) {
		closed, err = store.Expire(t.Context(), tx, id)
		return err
	})
	if !errors.Is(err, mq.ErrNotYet) {
		require.NoError(t, err)
	}
	return closed, err
}

// requireClosed, requireNotYet and requireLeft say what the timer of an order must do: close it, come again, or leave it alone for ever.
func requireClosed(t *testing.T, db *sql.DB, store *mysql.Store, id string) {
	t.Helper()
	closed, err := timeout(t, db, store, id)
	require.NoError(t, err)
	require.True(t, closed)
}

func requireNotYet(t *testing.T, db *sql.DB, store *mysql.Store, id, why string) {
	t.Helper()
	closed, err := timeout(t, db, store, id)
	require.ErrorIs(t, err, mq.ErrNotYet, why)
	require.False(t, closed, why)
}

func requireLeft(t *testing.T, db *sql.DB, store *mysql.Store, id, why string) {
	t.Helper()
	closed, err := timeout(t, db, store, id)
	require.NoError(t, err, why)
	require.False(t, closed, why)
}

// TestExpiry tests that an unpaid order is closed once its time is over, but not during a payment that began in time.
func TestExpiry(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	expire := func(id string) {
		_, err := db.ExecContext(t.Context(), "UPDATE orders SET expires_at = NOW(3) WHERE id = ?", id)
		require.NoError(t, err)
	}
	requireNotYet(t, db, store, id, "it has time left")

	_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid")
	require.NoError(t, err)
	expire(id)
	requireNotYet(t, db, store, id, "a payment is being opened")
	require.NoError(t, begin(t, db, store, id, "gid"), "and may go on")

	late := addOrder(t, store)
	expire(late)
	_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, late, "gid-2")
	require.NoError(t, err)
	require.False(t, opened, "too late to pay, also before the timer")
	state, err := store.State(t.Context(), late)
	require.NoError(t, err)
	require.Equal(t, mysql.State{Status: order.Canceled, Reason: order.Expired, Expired: true}, state)

	for _, status := range []order.Status{
		order.Updating, order.Paid, order.Canceled, order.Shipped, order.Completed, order.Refunding, order.Refunded,
	} {
		id := addOrder(t, store)
		expire(id)
		_, err := db.ExecContext(t.Context(), "UPDATE orders SET status = ? WHERE id = ?", status, id)
		require.NoError(t, err)
		requireLeft(t, db, store, id, "it is "+string(status))
		require.Equal(t, string(status)+"\n--\n", mysqltest.Dump(t, db, "SELECT status FROM orders WHERE id = '"+id+"'"))
	}

	swept := addOrder(t, store)
	expire(swept)
	requireClosed(t, db, store, swept)
	requireLeft(t, db, store, swept, "once")
	requireLeft(t, db, store, "nobody's", "there is no such order")
	require.Equal(t, "1 order.created\n2 order.canceled\n--\n", mysqltest.Dump(t, db,
		"SELECT seq, event_type FROM order_event WHERE order_id = '"+swept+"' ORDER BY seq"))
}

// TestExpiryIsByTheDatabasesClock lets two hours pass in the database and none here.
func TestExpiryIsByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	db, store, swept := newOrder(t) // payable for an hour
	paid := addOrder(t, store)
	require.Equal(t, "3600\n3600\n--\n", mysqltest.Dump(t, db, "SELECT TIMESTAMPDIFF(SECOND, created_at, expires_at) FROM orders"))
	db.SetMaxOpenConns(1) // the clock belongs to the connection
	_, err := db.ExecContext(t.Context(), "SET timestamp = UNIX_TIMESTAMP() + 7200")
	require.NoError(t, err)
	requireClosed(t, db, store, swept)
	_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, paid, "gid")
	require.NoError(t, err)
	require.False(t, opened)
	require.Equal(t, "CANCELED EXPIRED\nCANCELED EXPIRED\n--\n", mysqltest.Dump(t, db, "SELECT status, reason FROM orders"))
}

// TestHeldRowsDoNotStopTheSweeps tests that one transaction that hangs, holding its order and attempt, keeps the sweeps from no other.
func TestHeldRowsDoNotStopTheSweeps(t *testing.T) {
	t.Parallel()
	db, store, stuck := newOrder(t)
	free := addOrder(t, store)
	for _, id := range []string{stuck, free} {
		_, _, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid-"+id)
		require.NoError(t, err)
	}
	idle, late := addOrder(t, store), addOrder(t, store)
	_, err := db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = TIMESTAMPADD(SECOND, -40, NOW(3))")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "UPDATE orders SET expires_at = NOW(3) WHERE id IN (?, ?)", idle, late)
	require.NoError(t, err)

	hung, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = hung.Rollback() }()
	_, err = hung.ExecContext(t.Context(), "UPDATE payment_attempt SET reason = 'x' WHERE order_id = ?", stuck)
	require.NoError(t, err)
	_, err = hung.ExecContext(t.Context(), "UPDATE orders SET reason = 'x' WHERE id = ?", idle)
	require.NoError(t, err)

	got, err := store.LeaseOverdue(t.Context(), 30*time.Second, time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, free, got[0].OrderID)
	requireNotYet(t, db, store, idle, "somebody has it locked")
	requireClosed(t, db, store, late)
}

// TestBlankBehindAnID tests that a blank after an id makes it the id of another order, and of another transaction.
func TestBlankBehindAnID(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	_, err := store.Order(t.Context(), member, id+" ")
	require.ErrorIs(t, err, order.ErrNotFound)
	_, _, err = store.OpenAttempt(t.Context(), order.Payment, member, id+" ", "gid")
	require.ErrorIs(t, err, order.ErrNotFound)
	_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, id, "gid")
	require.NoError(t, err)
	require.True(t, opened)
	require.NoError(t, store.RecordReason(t.Context(), "gid ", order.CreditRefused))
	require.Equal(t, "gid \n--\n", mysqltest.Dump(t, db, "SELECT gid, reason FROM payment_attempt"), "another transaction's reason")
}
