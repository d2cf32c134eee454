package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

// numbered returns event n of subject.
func numbered(subject string, n int64) mq.Event {
	e := event(subject, "a")
	e.Sequence = n
	return e
}

// askForGaps asks until the test ends.
func (s *shop) askForGaps(t *testing.T) {
	background(t, audit.New(s.db, s.bus, mqtest.Keys(), s.clients, s.alerts, s.times).AskForGaps)
}

// TestGapIsAskedFor: what a strictly ordered group misses of a subject, because it lies in the broker that is away, is sent again in seconds,
// though nothing was found missing by an audit.
func TestGapIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one", "two")
	s.consume(t, mq.Subscription{Group: "all", Order: mq.Strict})
	s.askForGaps(t)
	s.broker.away.Store(true)
	s.broker.loses.Store(true)
	for n := range int64(5) {
		s.publish(t, "one", numbered("x", n+1), numbered("y", n+1))
	}
	s.settled(t, "one")
	s.broker.loses.Store(false)
	s.publish(t, "one", numbered("x", 6))
	start := time.Now()
	mqlaws.AwaitCount(t, s.db, 6, "SELECT COUNT(*) FROM effect")
	assert.Less(t, time.Since(start), 10*time.Second)
	assert.Equal(t, "6\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect WHERE subject = 'x'"), "what nobody waits for is not sent again")
	mqlaws.Settled(t, s.db)
}

// TestGapOfWhatIsHere: an event that failed, or is a dead letter, is no gap, and what comes after it is not asked for.
func TestGapOfWhatIsHere(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.broker.away.Store(true)
	sub := mq.Subscription{Group: "all", Topic: topic, Order: mq.Strict, Tries: 1}
	background(t, func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.db, sub, func(_ context.Context, _ *sql.Tx, e mq.Event) error {
			if e.Sequence == 1 {
				return fmt.Errorf("%s: %w", e.Subject, map[bool]error{true: mq.ErrNotYet, false: mq.ErrPoison}[e.Subject == "waits"])
			}
			return nil
		})
	})
	for n := range int64(3) {
		s.publish(t, "one", numbered("waits", n+1), numbered("dead", n+1))
	}
	mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING' AND waits > 0 AND seq > 1")
	gaps, err := mq.Gaps(t.Context(), s.db, "all", 0)
	require.NoError(t, err)
	assert.Empty(t, gaps)
}

// TestSendNumbers: the numbers that are asked for are sent again, of that source, subject and generation only, and not those that were just
// sent.
func TestSendNumbers(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	o, db := s.outboxes["one"], s.publishers["one"]
	older := numbered("x", 2)
	older.Generation = "g"
	for n := range int64(4) {
		s.publish(t, "one", numbered("x", n+1), numbered("y", n+1))
	}
	s.publish(t, "one", older)
	s.settled(t, "one")
	ask := func(source, subject string, first, last int64, settled time.Duration) int64 {
		t.Helper()
		n, err := o.SendNumbers(t.Context(), topic, mq.Gap{Source: source, Subject: subject, First: first, Last: last}, settled)
		require.NoError(t, err)
		return n
	}
	assert.Zero(t, ask("/one", "x", 1, 9, time.Hour), "just sent")
	assert.Zero(t, ask("/two", "x", 1, 9, 0))
	assert.Zero(t, ask("/one", "z", 1, 9, 0))
	s.stopRelay["one"]()
	assert.EqualValues(t, 2, ask("/one", "x", 2, 3, 0))
	assert.Equal(t, "x 2\n--\n", mysqltest.Dump(t, db, "SELECT subject, COUNT(*) FROM mq_outbox WHERE state = 'READY' GROUP BY subject"))
	for _, bad := range [][2]int64{{0, 1}, {2, 1}, {1, 1001}} {
		_, err := o.SendNumbers(t.Context(), topic, mq.Gap{Source: "/one", Subject: "x", First: bad[0], Last: bad[1]}, 0)
		assert.ErrorIs(t, err, mq.ErrRefused)
	}
}
