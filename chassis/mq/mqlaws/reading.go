package mqlaws

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
)

// notBefore: an event that is sent for later has its effect at that time, and others do not wait for it. A transport that holds nothing back
// says so, and the relay holds it.
func notBefore(t *testing.T, w *world) {
	w.consume(t, w.subscription("a", mq.Unordered), Effect("a"))
	w.deliver(t, New("first", 0))
	w.awaitEffects(t, 1) // the consumer runs
	due := time.Now().Add(3 * time.Second)
	later := New("later", 0)
	if err := w.transport.Send(t.Context(), w.topic, later, due); errors.Is(err, mq.ErrHeld) {
		require.NoError(t, database.InTx(t.Context(), w.db, func(tx *sql.Tx) error {
			if err := w.outbox.Append(t.Context(), tx, w.topic, later); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), "UPDATE mq_outbox SET deliver_at = ?", due.UTC())
			return err
		}))
	} else {
		require.NoError(t, err)
	}
	w.deliver(t, New("now", 0))
	w.awaitEffects(t, 3)
	assert.False(t, time.Now().Before(due))
	assert.Equal(t, "first\nnow\nlater\n--\n", mysqltest.Dump(t, w.db, "SELECT subject FROM effect ORDER BY id"))
	Settled(t, w.db)
}

// tailTellsAll: every Tail gets each event of the wanted types that comes after it began, those of a subject in order, and none from before.
func tailTellsAll(t *testing.T, w *world) {
	w.deliver(t, New("before", 1))
	var (
		mu   sync.Mutex
		told [2][]string
	)
	for i := range told {
		background(t, func(ctx context.Context) error {
			return w.transport.Tail(ctx, mq.View{Topic: w.topic, Types: []string{"thing.happened"}}, func(_ context.Context, e mq.Event) {
				mu.Lock()
				defer mu.Unlock()
				told[i] = append(told[i], fmt.Sprint(e.Subject, e.Sequence))
			})
		})
	}
	without := func(i int, subject string) (all []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, one := range told[i] {
			if one != subject {
				all = append(all, one)
			}
		}
		return all
	}
	for i := range told { // a Tail skips what came before it looked, so wait until it got one
		require.Eventually(t, func() bool {
			w.deliver(t, New("ready", 0))
			mu.Lock()
			defer mu.Unlock()
			return len(told[i]) > 0
		}, patience, 50*time.Millisecond)
	}
	var want []string
	for n := range int64(20) {
		w.deliver(t, New("s", n+1))
		other := New("other", n+1)
		other.Type = "thing.else"
		w.deliver(t, other)
		want = append(want, fmt.Sprint("s", n+1))
	}
	for i := range told {
		require.Eventually(t, func() bool { return len(without(i, "ready0")) >= len(want) }, patience, 20*time.Millisecond)
		assert.Equal(t, want, without(i, "ready0"))
	}
}

// replayByParts: what the topic took in a span of time comes once more, in any number of parts, each subject in order; what the reader
// failed on comes again.
func replayByParts(t *testing.T, w *world) {
	history, ok := w.transport.(mq.History)
	if !ok {
		return // it keeps no history, and does not claim to
	}
	send := func(from, to int64) {
		for n := from; n <= to; n++ {
			w.deliver(t, New("a", n))
			w.deliver(t, New("b", n))
		}
		time.Sleep(20 * time.Millisecond) // a transport's clock may be in milliseconds
	}
	send(1, 10)
	from := time.Now()
	send(11, 20)
	to := time.Now()
	time.Sleep(20 * time.Millisecond)
	send(21, 30)
	got, position, enough := map[string][]int64{}, "", errors.New("enough")
	for calls := 1; ; calls++ {
		require.Less(t, calls, 30)
		n := 0
		next, err := history.Replay(t.Context(), w.topic, from, to, position, func(d mq.Delivery) error {
			if n++; n > 3 {
				return enough
			}
			got[d.Event.Subject] = append(got[d.Event.Subject], d.Event.Sequence)
			return d.Broken
		})
		if position = next; position == "" {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, enough)
		foreign, err := history.Replay(t.Context(), w.topic+"-other", from, to, position, func(mq.Delivery) error { return nil })
		assert.Error(t, err)
		assert.Equal(t, position, foreign, "a position of another topic")
	}
	span := []int64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
	assert.Equal(t, map[string][]int64{"a": span, "b": span}, got)
	_, err := history.Replay(t.Context(), w.topic, from, to, "no position", func(mq.Delivery) error { return nil })
	assert.ErrorIs(t, err, mq.ErrRefused)
}
