package mq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

// stage is a service that writes effects, with a transport of its own.
type stage struct {
	transport *memory.Transport
	bus       *mq.Bus
	db        *sql.DB
	topic     string
}

func newStage(t *testing.T) stage {
	transport := memory.New()
	return stage{transport, mq.NewBus("svc", transport, mq.Config{}), mysqltest.Open(t, mqlaws.Migrations, mq.Tables()), "things"}
}

// background runs work until the test ends or stop is called.
func background(t *testing.T, work func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); assert.NoError(t, work(ctx)) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// group returns a strict subscription with short pauses.
func group(topic string) mq.Subscription {
	return mq.Subscription{Group: "g-" + topic, Topic: topic, Order: mq.Strict, FirstPause: 50 * time.Millisecond, Poll: 50 * time.Millisecond}
}

// TestDeadLetters: dead letters can be listed, read with reason and history, redriven one by one or all, and discarded; what waited for one in
// its subject follows.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := s.bus
	var broken atomic.Bool
	broken.Store(true)
	sub := group(s.topic)
	sub.Tries, sub.FirstPause, sub.LongestPause = 3, 10*time.Millisecond, 20*time.Millisecond
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if e.Sequence == 1 && broken.Load() {
				return errors.New("no such member")
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	for _, subject := range []string{"a", "b", "c", "d"} {
		require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New(subject, 1)))
		require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New(subject, 2)))
	}
	mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect"))

	dead := mq.NewDeadLetters(s.db, s.bus.Order)
	letters, err := dead.List(t.Context(), sub.Group, 0, 3)
	require.NoError(t, err)
	require.Len(t, letters, 3)
	more, err := dead.List(t.Context(), "", letters[2].ID, 3)
	require.NoError(t, err)
	require.Len(t, more, 1)
	none, err := dead.List(t.Context(), "another", 0, 3)
	require.NoError(t, err)
	require.Empty(t, none)
	letter, err := dead.Read(t.Context(), letters[0].ID)
	require.NoError(t, err)
	assert.Equal(t, "no such member", letter.Reason)
	assert.Equal(t, 3, letter.Tries)
	assert.Equal(t, 3, strings.Count(letter.History, "no such member"))
	assert.Contains(t, string(letter.Event), `"subject":"`+letter.Subject+`"`)

	require.NoError(t, dead.Discard(t.Context(), letters[1].ID))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE seq = 2")
	broken.Store(false)
	require.NoError(t, dead.Redrive(t.Context(), letters[0].ID))
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
	require.ErrorIs(t, dead.Redrive(t.Context(), letters[0].ID), mq.ErrNoDeadLetter)
	_, err = dead.Read(t.Context(), letters[0].ID)
	require.ErrorIs(t, err, mq.ErrNoDeadLetter)
	n, err := dead.RedriveAll(t.Context(), sub.Group)
	require.NoError(t, err)
	assert.Equal(t, mq.Redriven{Redriven: 2}, n)
	mqlaws.AwaitCount(t, s.db, 7, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
}

// TestPoison: what a handler calls poison is a dead letter after one try; for other errors the bus' Config says after how many.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := mq.NewBus("svc", s.transport, mq.Config{Tries: 2})
	sub := group(s.topic)
	sub.Tries, sub.FirstPause = 0, 10*time.Millisecond
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, s.db, sub, func(_ context.Context, _ *sql.Tx, e mq.Event) error {
			if e.Subject == "poison" {
				return fmt.Errorf("no member: %w", mq.ErrPoison)
			}
			return errors.New("away")
		})
	})
	for _, subject := range []string{"poison", "other"} {
		require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New(subject, 1)))
	}
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	assert.Equal(t, "other 2\npoison 1\n--\n", mysqltest.Dump(t, s.db, "SELECT subject, tries FROM mq_inbox ORDER BY subject"))
}

// TestDiscardTheFirst: what follows a subject's first event goes on when that is discarded, even if it comes only then.
func TestDiscardTheFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := s.bus
	sub := group(s.topic)
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if e.Sequence == 1 {
				return mq.ErrPoison
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New("a", 1)))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	dead := mq.NewDeadLetters(s.db, s.bus.Order)
	letters, err := dead.List(t.Context(), "", 0, 1)
	require.NoError(t, err)
	require.NoError(t, dead.Discard(t.Context(), letters[0].ID))
	require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New("a", 2)))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
}

// TestRedriveNoEvent: a message that no service sent is a letter that cannot be tried again, only discarded.
func TestRedriveNoEvent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := mq.NewBus("svc", s.transport, mq.Config{Keys: mqtest.Keys()})
	sub := group(s.topic)
	background(t, func(ctx context.Context) error { return b.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
	require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 1))) // without a key
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	dead := mq.NewDeadLetters(s.db, b.Order)
	letters, err := dead.List(t.Context(), "", 0, 10)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.ErrorIs(t, dead.Redrive(t.Context(), letters[0].ID), mq.ErrUnreadable)
	n, err := dead.RedriveAll(t.Context(), sub.Group)
	require.NoError(t, err)
	assert.Equal(t, mq.Redriven{}, n)
	require.NoError(t, dead.Discard(t.Context(), letters[0].ID))
	assert.Equal(t, "DROPPED\n--\n0\n--\n", mysqltest.Dump(t, s.db, "SELECT state FROM mq_inbox", "SELECT COUNT(*) FROM effect"))
}

// TestGap: an event that has waited long for the events before it is a dead letter, so that people are told. It goes on by itself when they come
// after all, and without them when a person redrives it.
func TestGap(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := s.bus
	background(t, func(ctx context.Context) error { return b.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) })
	events := map[string]mq.Event{}
	for _, name := range []string{"late 2", "never 2", "never 3", "both 2", "both 3", "both 5"} {
		subject, number, _ := strings.Cut(name, " ")
		events[name] = mqlaws.New(subject, int64(number[0]-'0'))
		require.NoError(t, b.Publish(t.Context(), s.topic, events[name]))
	}
	mqlaws.AwaitCount(t, s.db, 6, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING'")
	_, err := s.db.Exec("UPDATE mq_inbox SET created_at = created_at - INTERVAL 2 HOUR, next_at = NOW(3)")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 6, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	effects := func(subject string) string {
		return mysqltest.Dump(t, s.db, "SELECT seq FROM effect WHERE subject = '"+subject+"' ORDER BY id")
	}

	require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New("late", 1)))
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect WHERE subject = 'late'")
	assert.Equal(t, "1\n2\n--\n", effects("late"))

	dead := mq.NewDeadLetters(s.db, s.bus.Order)
	letters, err := dead.List(t.Context(), "", 0, 10)
	require.NoError(t, err)
	for _, l := range letters {
		if l.EventID == events["never 2"].ID {
			assert.Contains(t, l.Reason, "before what is in front of it")
			require.NoError(t, dead.Redrive(t.Context(), l.ID))
		}
	}
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect WHERE subject = 'never'")
	assert.Equal(t, "2\n3\n--\n", effects("never"))

	n, err := dead.RedriveAll(t.Context(), group(s.topic).Group)
	require.NoError(t, err)
	assert.Equal(t, mq.Redriven{Redriven: 3}, n)
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect WHERE subject = 'both'")
	for _, late := range []mq.Event{mqlaws.New("never", 1), mqlaws.New("both", 4)} {
		require.NoError(t, b.Publish(t.Context(), s.topic, late))
	}
	mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM effect WHERE subject = 'both'")
	assert.Equal(t, "2\n3\n4\n5\n--\n", effects("both"))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'OLD'")
	mqlaws.Settled(t, s.db)
}
