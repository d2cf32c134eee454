package mq_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mysql/mysqltest"
)

// TestTimers: 1,000 within one second each have their effect once, none early, to the second or two; canceled ones have none; one beyond
// the broker's days is fired by the sweep.
func TestTimers(t *testing.T) {
	t.Parallel()
	s := newStage(t, mqtest.Shared(t))
	b, wake := s.dial(t), s.Topic(t)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Poll: 100 * time.Millisecond})
	timers := mq.NewTimers(o, wake, mqlaws.Effect("a"))
	background(t, o.Relay)
	background(t, timers.Run)

	const count = 1000
	due := time.Now().Add(15 * time.Second)
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		for n := range count {
			id := fmt.Sprintf("t%d", n)
			if err := timers.At(t.Context(), tx, id, due.Add(time.Duration(n)*time.Millisecond), mqlaws.New(id, 1)); err != nil {
				return err
			}
		}
		return timers.At(t.Context(), tx, "far", time.Now().Add(30*24*time.Hour), mqlaws.New("far", 1))
	}))
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
	mqlaws.AwaitCount(t, s.db, count-canceled, "SELECT COUNT(*) FROM effect")
	late := lateness(t, s.db)
	t.Logf("lateness of %d timers: least %v, median %v, 99 %% %v, most %v", len(late), late[0], late[len(late)/2], late[len(late)*99/100], late[len(late)-1])
	assert.GreaterOrEqual(t, late[0], time.Duration(0), "too early")
	assert.Less(t, late[len(late)-1], 30*time.Second)
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect WHERE subject LIKE 't%0'"))

	// Nothing is on its way for the far one; when its time comes, the sweep is there.
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_timer SET due_at = NOW(3) WHERE id = 'far'")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE subject = 'far'")
	mqlaws.Settled(t, s.db)
}

// lateness is how long behind their time the timers had their effect, sorted.
func lateness(t *testing.T, db *sql.DB) []time.Duration {
	rows, err := db.QueryContext(t.Context(), "SELECT TIMESTAMPDIFF(MICROSECOND, due_at, at) FROM effect JOIN mq_timer ON mq_timer.id = effect.subject")
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
