package rocketmq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestTimers: 1,000 timers within one second each have their effect once, none early, 99 % within 3 s; canceled ones have none; one further
// ahead than the broker can wait is fired by the sweep.
func TestTimers(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	o := mq.NewOutbox(s.db, s.dial(t), mq.OutboxConfig{Poll: 100 * time.Millisecond})
	timers := mq.NewTimers(o, s.topic, mqlaws.Effect("a"))
	background(t, o.Relay)
	background(t, timers.Run)

	const count = 1000
	due := time.Now().Add(12 * time.Second)
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		for n := range count {
			id := fmt.Sprintf("t%d", n)
			if err := timers.At(t.Context(), tx, id, due.Add(time.Duration(n)*time.Millisecond), mqlaws.New(id, 1)); err != nil {
				return err
			}
		}
		return errors.Join(timers.At(t.Context(), tx, "far", time.Now().Add(30*24*time.Hour), mqlaws.New("far", 1)),
			timers.At(t.Context(), tx, "moved", due, mqlaws.New("moved", 1)))
	}))
	// The wake-up of this one comes too early.
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_timer SET due_at = due_at + INTERVAL 2 SECOND WHERE id = 'moved'")
	require.NoError(t, err)
	canceled := 0
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		for n := 0; n < count; n += 10 {
			ok, err := timers.Cancel(t.Context(), tx, fmt.Sprintf("t%d", n))
			if err != nil {
				return err
			}
			assert.True(t, ok)
			canceled++
		}
		ok, err := timers.Cancel(t.Context(), tx, "nobody's")
		assert.False(t, ok)
		return err
	}))
	mqlaws.AwaitCount(t, s.db, count-canceled+1, "SELECT COUNT(*) FROM effect")
	late := lateness(t, s.db)
	t.Logf("lateness of %d timers: least %v, median %v, 99 %% %v, most %v", len(late), late[0], late[len(late)/2], late[len(late)*99/100],
		late[len(late)-1])
	assert.GreaterOrEqual(t, late[0], time.Duration(0), "too early")
	assert.Less(t, late[len(late)*99/100], 3*time.Second)
	assert.Equal(t, "0\n--\n0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect WHERE subject LIKE 't%0'",
		"SELECT COUNT(*) FROM mq_timer JOIN effect ON subject = mq_timer.id WHERE state <> 'FIRED'"))

	// There is no wake-up for the far one; when its time comes, the sweep fires it.
	_, err = s.db.ExecContext(t.Context(), "UPDATE mq_timer SET due_at = NOW(3) WHERE id = 'far'")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE subject = 'far'")
	mqlaws.Settled(t, s.db)
}

// TestTimerFails: a handler that fails is tried again, and not by the sweep in addition; at last the timer is a dead letter, which can be
// redriven or discarded. Its changes are rolled back each time, and other timers go on. A handler may publish.
func TestTimerFails(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	b, wake := s.dial(t), s.Topic(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Poll: 50 * time.Millisecond})
	var (
		broken atomic.Bool
		calls  sync.Map // by subject
	)
	broken.Store(true)
	timers := mq.NewTimers(o, wake, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		n, _ := calls.LoadOrStore(e.Subject, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		if err := o.Append(ctx, tx, s.topic, e); err != nil {
			return err
		}
		if e.Subject != "good" && broken.Load() {
			return errors.New("broken")
		}
		return nil
	})
	timers.Tries, timers.FirstPause, timers.LongestPause = 3, 10*time.Millisecond, 20*time.Millisecond
	background(t, o.Relay)
	background(t, timers.Run)
	now := time.Now()
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(
			timers.At(t.Context(), tx, "bad", now.Add(time.Second), mqlaws.New("bad", 1)),
			timers.At(t.Context(), tx, "worse", now.Add(time.Second), mqlaws.New("worse", 1)),
			timers.At(t.Context(), tx, "good", now.Add(1100*time.Millisecond), mqlaws.New("good", 1)),
			timers.At(t.Context(), tx, "swept", now.Add(30*24*time.Hour), mqlaws.New("swept", 1)))
	}))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE subject = 'good'")
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	// The sweep, which takes what has been overdue for 3 s, fires another one and leaves these.
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_timer SET due_at = NOW(3) - INTERVAL 1 HOUR WHERE id IN ('bad', 'worse', 'swept')")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	for _, subject := range []string{"bad", "worse", "swept"} {
		n, _ := calls.Load(subject)
		assert.EqualValues(t, 3, n.(*atomic.Int64).Load(), subject)
	}
	assert.Equal(t, "good\n--\nARMED 3\nFIRED 1\n--\n", mysqltest.Dump(t, s.db, "SELECT subject FROM effect",
		"SELECT state, COUNT(*) FROM mq_timer GROUP BY state ORDER BY state"))

	broken.Store(false)
	dead := mq.NewDeadLetters(s.db, b.Order)
	letters, err := dead.List(t.Context(), s.service+"-timers", 0, 10)
	require.NoError(t, err)
	require.Len(t, letters, 3)
	for _, l := range letters {
		if l.Subject == "worse" {
			require.NoError(t, dead.Discard(t.Context(), l.ID))
			continue
		}
		require.NoError(t, dead.Redrive(t.Context(), l.ID))
	}
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "bad FIRED\ngood FIRED\nswept FIRED\nworse CANCELED\n--\n",
		mysqltest.Dump(t, s.db, "SELECT id, state FROM mq_timer ORDER BY id"))
	mqlaws.Settled(t, s.db)
}

// TestTimerCanceledMeanwhile: a transaction that changes the rows that a due timer's handler changes too, and then cancels the timer, wins
// without a deadlock, and the handler's changes are rolled back.
func TestTimerCanceledMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	_, err := s.db.ExecContext(t.Context(), "INSERT INTO fact (subject) VALUES ('open')")
	require.NoError(t, err)
	o := mq.NewOutbox(s.db, s.dial(t), mq.OutboxConfig{Poll: 50 * time.Millisecond})
	called := make(chan struct{}, 100)
	timers := mq.NewTimers(o, s.topic, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		called <- struct{}{}
		if _, err := tx.ExecContext(ctx, "UPDATE fact SET subject = 'expired'"); err != nil {
			return err
		}
		return mqlaws.Effect("a")(ctx, tx, e)
	})
	background(t, o.Relay)
	background(t, timers.Run)
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		return timers.At(t.Context(), tx, "expiry", time.Now().Add(time.Second), mqlaws.New("open", 1))
	}))
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), "UPDATE fact SET subject = 'paid'")
	require.NoError(t, err)
	<-called
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, s.db,
			"SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE fact SET subject = ''expired''%' AND db = DATABASE()") == "1\n--\n"
	}, 10*time.Second, 5*time.Millisecond)
	ok, err := timers.Cancel(t.Context(), tx, "expiry")
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, tx.Commit())
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DONE'")
	assert.Equal(t, "paid\n--\n0\n--\n", mysqltest.Dump(t, s.db, "SELECT subject FROM fact", "SELECT COUNT(*) FROM effect"))
	mqlaws.Settled(t, s.db)
}

// lateness returns how long after their time the timers had their effect, sorted.
func lateness(t *testing.T, db *sql.DB) []time.Duration {
	rows, err := db.QueryContext(t.Context(),
		"SELECT TIMESTAMPDIFF(MICROSECOND, due_at, at) FROM effect JOIN mq_timer ON mq_timer.id = effect.subject")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	var all []time.Duration
	for rows.Next() {
		var us int64
		require.NoError(t, rows.Scan(&us))
		all = append(all, time.Duration(us)*time.Microsecond)
	}
	require.NoError(t, rows.Err())
	slices.Sort(all)
	return all
}
