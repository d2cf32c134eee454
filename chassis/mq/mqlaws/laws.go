package mqlaws

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
)

func committedOnce(t *testing.T, w *world) {
	background(t, w.outbox.Relay) // a second relay
	w.consume(t, w.subscription("a", mq.Strict), Effect("a"))
	for n := range int64(20) {
		for s := range 5 {
			w.appended(t, New(fmt.Sprintf("s%d", s), n+1))
		}
	}
	w.awaitEffects(t, 100)
	Settled(t, w.db)
}

func rolledBackNever(t *testing.T, w *world) {
	w.consume(t, w.subscription("a", mq.Strict), Effect("a"))
	no := errors.New("no")
	for range 10 {
		err := database.InTx(t.Context(), w.db, func(tx *sql.Tx) error {
			require.NoError(t, w.outbox.Append(t.Context(), tx, w.topic, New("s", 1)))
			return no
		})
		require.ErrorIs(t, err, no)
	}
	good := New("s", 1)
	w.appended(t, good)
	w.awaitEffects(t, 1)
	assert.Equal(t, good.ID+"\n--\n", mysqltest.Dump(t, w.db, "SELECT event_id FROM effect"))
	Settled(t, w.db)
}

// twice: events without any order, so that only the inbox knows that they were there before.
func twice(t *testing.T, w *world) {
	w.consume(t, w.subscription("a", mq.Unordered), Effect("a"))
	for n := range 10 {
		e := New("s", 0)
		w.deliver(t, e)
		w.awaitEffects(t, 2*n+1)
		w.deliver(t, e)
		w.deliver(t, New("s", 0)) // after it
		w.awaitEffects(t, 2*n+2)
	}
	Settled(t, w.db)
}

// twiceAndOutOfOrder: every event comes twice, all of them shuffled.
func twiceAndOutOfOrder(t *testing.T, w *world) {
	var all []mq.Event
	for n := range int64(10) {
		for s := range 5 {
			e := New(fmt.Sprintf("s%d", s), n+1)
			all = append(all, e, e)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	w.consume(t, w.subscription("a", mq.Strict), Effect("a"))
	for _, e := range all {
		w.deliver(t, e)
	}
	w.awaitEffects(t, 50)
	Settled(t, w.db)
}

// newestOnly: older ones have no effect, and gaps are not waited for.
func newestOnly(t *testing.T, w *world) {
	w.consume(t, w.subscription("a", mq.Newest), Effect("a"))
	for _, n := range []int64{3, 1, 7, 2} {
		w.deliver(t, New("s", n))
		AwaitCount(t, w.db, 1, fmt.Sprintf("SELECT COUNT(*) FROM mq_inbox WHERE seq = %d", n))
	}
	assert.Equal(t, "3\n7\n--\n1 OLD\n2 OLD\n3 DONE\n7 DONE\n--\n",
		mysqltest.Dump(t, w.db, "SELECT seq FROM effect ORDER BY id", "SELECT seq, state FROM mq_inbox ORDER BY seq"))
	Settled(t, w.db)
}

// poisonInFront: an event that always fails is given up with its reason, and those of other subjects do not wait for it.
func poisonInFront(t *testing.T, w *world) {
	poison := New("bad", 1)
	s := w.subscription("a", mq.Strict)
	s.FirstPause, s.LongestPause = 500*time.Millisecond, time.Second
	w.consume(t, s, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		if e.ID == poison.ID {
			_ = Effect("poison")(ctx, tx, e)
			return errors.New("cannot be done")
		}
		return Effect("a")(ctx, tx, e)
	})
	w.appended(t, poison)
	for n := range 20 {
		w.appended(t, New(fmt.Sprintf("good%d", n), 1))
	}
	w.awaitEffects(t, 20)
	AwaitCount(t, w.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	assert.Equal(t, "3 0 cannot be done\n--\n", mysqltest.Dump(t, w.db, "SELECT tries, waits, last_error FROM mq_inbox WHERE state = 'DEAD'"))
	Settled(t, w.db)
}

// poisonHoldsItsSubject: in strict order no event of a subject overtakes one that failed; when that works at last, all follow.
func poisonHoldsItsSubject(t *testing.T, w *world) {
	var broken atomic.Bool
	broken.Store(true)
	s := w.subscription("a", mq.Strict)
	s.Tries = 1000
	w.consume(t, s, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		if e.Sequence == 2 && broken.Load() {
			return errors.New("broken")
		}
		return Effect("a")(ctx, tx, e)
	})
	for n := range int64(5) {
		w.appended(t, New("s", n+1))
	}
	AwaitCount(t, w.db, 5, "SELECT COUNT(*) FROM mq_inbox")
	AwaitCount(t, w.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE tries >= 2")
	assert.Equal(t, "1\n--\n", mysqltest.Dump(t, w.db, "SELECT seq FROM effect"))
	broken.Store(false)
	w.awaitEffects(t, 5)
	Settled(t, w.db)
}

// panicAndHang: neither ends the consumer, and neither leaves an effect.
func panicAndHang(t *testing.T, w *world) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	var calls atomic.Int64
	s := w.subscription("a", mq.Unordered)
	s.Timeout, s.Workers = 2*time.Second, 2
	w.consume(t, s, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		_ = Effect("a")(ctx, tx, e)
		switch {
		case e.Subject == "panics" && calls.Add(1) < 2:
			panic("at the disco")
		case e.Subject == "hangs":
			<-release
		}
		return nil
	})
	w.appended(t, New("panics", 1), New("hangs", 1), New("works", 1))
	w.awaitEffects(t, 2)
	AwaitCount(t, w.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD' AND last_error LIKE 'no answer within%'")
	Settled(t, w.db)
}

// effectRolledBack: what a failed try wrote is rolled back.
func effectRolledBack(t *testing.T, w *world) {
	var calls atomic.Int64
	w.consume(t, w.subscription("a", mq.Strict), func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		if err := Effect("a")(ctx, tx, e); err != nil {
			return err
		}
		if calls.Add(1) < 3 {
			return errors.New("after the effect")
		}
		return nil
	})
	w.appended(t, New("s", 1))
	w.awaitEffects(t, 1)
	assert.EqualValues(t, 3, calls.Load())
	Settled(t, w.db)
}

func notYetIsNoFailure(t *testing.T, w *world) {
	var calls atomic.Int64
	w.consume(t, w.subscription("a", mq.Strict), func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		if calls.Add(1) < 8 { // more often than it may fail
			return fmt.Errorf("the order is UPDATING: %w", mq.ErrNotYet)
		}
		return Effect("a")(ctx, tx, e)
	})
	w.appended(t, New("s", 1))
	w.awaitEffects(t, 1)
	assert.Equal(t, "DONE 0 7\n--\n", mysqltest.Dump(t, w.db, "SELECT state, tries, waits FROM mq_inbox"))
	Settled(t, w.db)
}

func filterByType(t *testing.T, w *world) {
	s := w.subscription("a", mq.Newest)
	s.Types = []string{"box.sold", "box.burnt"}
	w.consume(t, s, Effect("a"))
	for n, kind := range []string{"box.made", "box.sold", "box.soldx", "box.burnt"} {
		e := New("s", int64(n+1))
		e.Type = kind
		w.appended(t, e)
	}
	w.awaitEffects(t, 2)
	assert.Equal(t, "2\n4\n--\n", mysqltest.Dump(t, w.db, "SELECT seq FROM effect ORDER BY id"))
	Settled(t, w.db)
}

func filterBySQL(t *testing.T, w *world) {
	s := w.subscription("a", mq.Unordered)
	s.Types, s.Filter = []string{"box.sold"}, "region = 'eu' AND amount > 10"
	w.consume(t, s, Effect("a"))
	for n, about := range []struct{ kind, region, amount string }{
		{"box.sold", "us", "20"}, {"box.sold", "eu", "5"}, {"box.made", "eu", "20"}, {"box.sold", "eu", "20"},
	} {
		e := New("s", int64(n+1))
		e.Type, e.Attributes = about.kind, map[string]string{"region": about.region, "amount": about.amount}
		w.appended(t, e)
	}
	w.awaitEffects(t, 1)
	assert.Equal(t, "4\n--\n", mysqltest.Dump(t, w.db, "SELECT seq FROM effect"))
	Settled(t, w.db)
}

// drainCutsNoHandler: a consumer that is told to stop lets its handlers end, and leaves what it had not begun to the next one.
func drainCutsNoHandler(t *testing.T, w *world) {
	begun, let := make(chan struct{}, 100), make(chan struct{})
	s := w.subscription("a", mq.Unordered)
	s.Workers = 2
	stop := w.consume(t, s, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		begun <- struct{}{}
		<-let
		return Effect("a")(ctx, tx, e)
	})
	for n := range 10 {
		w.appended(t, New(fmt.Sprintf("s%d", n), 1))
	}
	<-begun
	<-begun
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("it stopped in the middle of a handler")
	case <-time.After(200 * time.Millisecond):
	}
	close(let)
	<-stopped
	assert.NotEqual(t, "0\n--\n", mysqltest.Dump(t, w.db, "SELECT COUNT(*) FROM effect"))
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, w.db, "SELECT COUNT(*) FROM mq_inbox WHERE tries > 0"))
	w.consume(t, s, Effect("a"))
	w.awaitEffects(t, 10)
	Settled(t, w.db)
}

func twoGroups(t *testing.T, w *world) {
	w.consume(t, w.subscription("a", mq.Strict), Effect("a"))
	w.consume(t, w.subscription("b", mq.Strict), Effect("b"))
	w.appended(t, New("s", 1), New("s", 2), New("t", 1))
	w.awaitEffects(t, 6)
	Settled(t, w.db)
}
