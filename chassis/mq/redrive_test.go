package mq_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// queue is a strictly ordered group whose event number 1 of each subject cannot be handled until it is mended.
type queue struct {
	stage
	sub    mq.Subscription
	dead   *mq.DeadLetters
	mended atomic.Bool
	events map[int64]mq.Event
}

// newQueue returns a queue in which number 1 of subject a is in front, failing with cause, and number 2 was given up waiting for it.
func newQueue(t *testing.T, cause error) *queue {
	q := &queue{stage: newStage(t), events: map[int64]mq.Event{}}
	q.sub = group(q.topic)
	q.sub.Tries, q.sub.FirstPause, q.sub.LongestPause = 3, 10*time.Millisecond, 20*time.Millisecond
	q.dead = mq.NewDeadLetters(q.db, q.bus.Order)
	background(t, func(ctx context.Context) error {
		return q.bus.Consume(ctx, q.db, q.sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if e.Sequence == 1 && !q.mended.Load() {
				return cause
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	q.publish(t, 1)
	mqlaws.AwaitCount(t, q.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD' AND tries = 3 OR waits > 0")
	q.publish(t, 2)
	mqlaws.AwaitCount(t, q.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 2 AND state = 'WAITING'")
	q.age(t)
	mqlaws.AwaitCount(t, q.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 2 AND state = 'DEAD'")
	return q
}

func (q *queue) publish(t *testing.T, n int64) {
	q.events[n] = mqlaws.New("a", n)
	require.NoError(t, q.bus.Publish(t.Context(), q.topic, q.events[n]))
}

// age makes number 2 as old as if it had waited for two hours.
func (q *queue) age(t *testing.T) {
	_, err := q.db.ExecContext(t.Context(), "UPDATE mq_inbox SET created_at = created_at - INTERVAL 2 HOUR, next_at = NOW(3) WHERE seq = 2")
	require.NoError(t, err)
}

// row returns the inbox row of number n.
func (q *queue) row(t *testing.T, n int64) (id int64) {
	require.NoError(t, q.db.QueryRowContext(t.Context(), "SELECT id FROM mq_inbox WHERE seq = ?", n).Scan(&id))
	return id
}

// inOrder requires that every event had its effect, in the order of the numbers, and that none was dropped.
func (q *queue) inOrder(t *testing.T, want string) {
	t.Helper()
	mqlaws.AwaitCount(t, q.db, strings.Count(want, "\n"), "SELECT COUNT(*) FROM effect") // a letter whose turn has come is none of those that wait yet
	mqlaws.Settled(t, q.db)
	assert.Equal(t, want+"--\n", mysqltest.Dump(t, q.db, "SELECT seq FROM effect ORDER BY id"))
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, q.db, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'OLD'"))
}

var errBroken = errors.New("broken")

// TestRedriveAllBehindAFailure: all letters of a group are redriven, the one that failed and the one that waited for it.
func TestRedriveAllBehindAFailure(t *testing.T) {
	t.Parallel()
	q := newQueue(t, errBroken)
	q.mended.Store(true)
	n, err := q.dead.RedriveAll(t.Context(), q.sub.Group)
	require.NoError(t, err)
	assert.Equal(t, mq.Redriven{Redriven: 2}, n)
	q.inOrder(t, "1\n2\n")
}

// TestRedriveBehindAWait: nothing failed. The event in front cannot be handled yet, the one after it has waited for so long that it is a dead
// letter. Neither redriving it nor redriving all drops the one in front.
func TestRedriveBehindAWait(t *testing.T) {
	t.Parallel()
	for name, redrive := range map[string]func(*testing.T, *queue){
		"one": func(t *testing.T, q *queue) {
			var front *mq.InFront
			require.ErrorAs(t, q.dead.Redrive(t.Context(), q.row(t, 2)), &front)
			assert.Equal(t, mq.InFront{ID: q.row(t, 1), Sequence: 1, State: "WAITING"}, *front)
			assert.Equal(t, "DEAD\n--\n", mysqltest.Dump(t, q.db, "SELECT state FROM mq_inbox WHERE seq = 2"), "nothing was changed")
		},
		"all": func(t *testing.T, q *queue) {
			n, err := q.dead.RedriveAll(t.Context(), q.sub.Group)
			require.NoError(t, err)
			assert.Equal(t, mq.Redriven{Redriven: 1}, n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newQueue(t, mq.ErrNotYet)
			redrive(t, q)
			q.mended.Store(true)
			q.inOrder(t, "1\n2\n")
		})
	}
}

// TestRedriveAllBehindWhatIsHere: number 1 is late. Number 3 was given up waiting, and what stands before it is no letter of that kind: number 2
// waits, or it failed. Redriving all does not pass number 1, which has its effect when it comes.
func TestRedriveAllBehindWhatIsHere(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"waits", "cannot be read"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			sub := group(s.topic)
			background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
			exec := func(stmt string, args ...any) {
				t.Helper()
				_, err := s.db.ExecContext(t.Context(), stmt, args...)
				require.NoError(t, err)
			}
			publish := func(n int64) {
				t.Helper()
				require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", n)))
			}
			publish(3)
			mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 3 AND state = 'WAITING'")
			exec("UPDATE mq_inbox SET created_at = created_at - INTERVAL 2 HOUR, next_at = NOW(3)")
			mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 3 AND state = 'DEAD' AND tries = 0")
			publish(2)
			mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 2 AND state = 'WAITING'")
			var text string
			require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT event FROM mq_inbox WHERE seq = 2").Scan(&text))
			if second != "waits" {
				exec("UPDATE mq_inbox SET event = '{', next_at = NOW(3) WHERE seq = 2")
				mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 2 AND state = 'DEAD'")
			}
			dead := mq.NewDeadLetters(s.db, s.bus.Order)
			_, err := dead.RedriveAll(t.Context(), sub.Group)
			require.NoError(t, err)
			require.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT seq FROM mq_position"), "nothing was passed")
			exec("UPDATE mq_inbox SET state = 'WAITING', event = ?, next_at = NOW(3) WHERE seq = 2", text)
			publish(1)
			mqlaws.Settled(t, s.db)
			assert.Equal(t, "1\n2\n3\n--\n", mysqltest.Dump(t, s.db, "SELECT seq FROM effect ORDER BY id"))
		})
	}
}

// TestDiscardBehind: a letter cannot be discarded over an earlier one that is here, whether that waits or is a letter too. Discarding from the
// front works.
func TestDiscardBehind(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{errBroken, mq.ErrNotYet} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			q := newQueue(t, cause)
			var front *mq.InFront
			require.ErrorAs(t, q.dead.Discard(t.Context(), q.row(t, 2)), &front)
			assert.EqualValues(t, 1, front.Sequence)
			q.mended.Store(true)
			if front.State == "DEAD" {
				require.NoError(t, q.dead.Redrive(t.Context(), front.ID))
			}
			q.inOrder(t, "1\n2\n")
		})
	}
}

// TestDiscardWakes: when the event in front is discarded, the one that was given up waiting for it goes on by itself.
func TestDiscardWakes(t *testing.T) {
	t.Parallel()
	q := newQueue(t, errBroken)
	require.NoError(t, q.dead.Discard(t.Context(), q.row(t, 1)))
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, q.db, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'"))
	mqlaws.AwaitCount(t, q.db, 1, "SELECT COUNT(*) FROM effect WHERE seq = 2")
	mqlaws.Settled(t, q.db)
}

// TestRedriveTwice: two clicks. The second one finds the first event being tried again, and the other is not given up again meanwhile.
func TestRedriveTwice(t *testing.T) {
	t.Parallel()
	q := newQueue(t, errBroken)
	for n := range 5 {
		_, err := q.dead.RedriveAll(t.Context(), q.sub.Group)
		require.NoError(t, err)
		mqlaws.AwaitCount(t, q.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 1 AND state = 'DEAD'")
		require.Equal(t, "WAITING\n--\n", mysqltest.Dump(t, q.db, "SELECT state FROM mq_inbox WHERE seq = 2"), "click %d", n)
	}
	q.mended.Store(true)
	for range 2 {
		_, err := q.dead.RedriveAll(t.Context(), q.sub.Group)
		require.NoError(t, err)
	}
	q.inOrder(t, "1\n2\n")
}

// TestTurnOver: a letter whose turn has passed says so instead of having no effect in silence; it can be discarded, and that changes nothing
// else.
func TestTurnOver(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]mq.Order{"strict": mq.Strict, "newest": mq.Newest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			sub := group(s.topic)
			sub.Order, sub.Tries = order, 1
			background(t, func(ctx context.Context) error {
				return s.bus.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
					if e.Sequence == 1 {
						return errBroken
					}
					return mqlaws.Effect("a")(ctx, tx, e)
				})
			})
			require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 1)))
			mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
			if order == mq.Strict { // somebody moves the position
				_, err := s.db.ExecContext(t.Context(), `INSERT INTO mq_position (grp, source, subject, seq) VALUES (?, '/laws', 'a', 1)`, sub.Group)
				require.NoError(t, err)
			}
			require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 2)))
			mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")

			dead := mq.NewDeadLetters(s.db, s.bus.Order)
			letters, err := dead.List(t.Context(), "", 0, 10)
			require.NoError(t, err)
			require.Len(t, letters, 1)
			require.ErrorIs(t, dead.Redrive(t.Context(), letters[0].ID), mq.ErrTurnOver)
			n, err := dead.RedriveAll(t.Context(), sub.Group)
			require.NoError(t, err)
			assert.Equal(t, mq.Redriven{Over: 1}, n)
			require.NoError(t, dead.Discard(t.Context(), letters[0].ID))
			require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 3)))
			mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
			mqlaws.Settled(t, s.db)
		})
	}
}

// TestNewestDiscard: in a group that takes the newest only, a discarded event does not drop an older one that waits for its next try.
func TestNewestDiscard(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	sub.Order = mq.Newest
	var away atomic.Bool
	away.Store(true)
	background(t, func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			switch {
			case e.Sequence == 5:
				return mq.ErrPoison
			case e.Sequence == 4 && away.Load():
				return mq.ErrNotYet
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	for _, n := range []int64{3, 4, 5} {
		require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", n)))
	}
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING'")
	dead := mq.NewDeadLetters(s.db, s.bus.Order)
	letters, err := dead.List(t.Context(), "", 0, 10)
	require.NoError(t, err)
	require.NoError(t, dead.Discard(t.Context(), letters[0].ID))
	away.Store(false)
	mqlaws.Settled(t, s.db)
	assert.Equal(t, "3\n4\n--\n", mysqltest.Dump(t, s.db, "SELECT seq FROM effect ORDER BY id"))
}

// TestRedriveAllPassesFew: one wrong number that was given up waiting does not take all others with it when a group is redriven. A person can
// pass them for that letter.
func TestRedriveAllPassesFew(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
	for subject, numbers := range map[string][]int64{"far": {1, 500_000}, "near": {1, 11}} {
		for _, n := range numbers {
			require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New(subject, n)))
		}
	}
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING'")
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_inbox SET created_at = created_at - INTERVAL 2 HOUR, next_at = NOW(3) WHERE state = 'WAITING'")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	_, err = mq.NewDeadLetters(s.db, s.bus.Order).RedriveAll(t.Context(), sub.Group)
	require.NoError(t, err)
	for n := range int64(9) {
		require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("far", n+2)))
	}
	mqlaws.AwaitCount(t, s.db, 1+9+2, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "far 10\nnear 11\n--\n", mysqltest.Dump(t, s.db, "SELECT subject, seq FROM mq_position ORDER BY subject"))
}

// TestDiscardedStays: what a person gave up has no effect any more, also when it comes again after its position was moved back.
func TestDiscardedStays(t *testing.T) {
	t.Parallel()
	q := newQueue(t, errBroken)
	require.NoError(t, q.dead.Discard(t.Context(), q.row(t, 1)))
	mqlaws.AwaitCount(t, q.db, 1, "SELECT COUNT(*) FROM effect")
	_, err := mq.MovePosition(t.Context(), q.db, mq.Position{Group: q.sub.Group, Source: "/laws", Subject: "a"}, 0)
	require.ErrorIs(t, err, mq.ErrHadEffect)
	q.mended.Store(true)
	require.NoError(t, q.bus.Publish(t.Context(), q.topic, q.events[1]))
	mqlaws.Settled(t, q.db)
	assert.Equal(t, "1 DROPPED\n2 DONE\n--\n2\n--\n", mysqltest.Dump(t, q.db, "SELECT seq, state FROM mq_inbox ORDER BY seq",
		"SELECT seq FROM effect"))
}
