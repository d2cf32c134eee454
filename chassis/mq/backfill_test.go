package mq_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestBackfill: everything that was sent since then is sent again, part by part, and nothing older or that a group may have forgotten; what the
// transport held is offered at once. Groups that had an event do nothing the second time.
func TestBackfill(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
	broker := memory.New()
	bus := mq.NewBus("shop", broker, mq.Config{})
	o := mq.NewOutbox(db, bus, mq.OutboxConfig{Poll: 20 * time.Millisecond})
	stop := background(t, o.Relay)
	background(t, func(ctx context.Context) error {
		return bus.Consume(ctx, db, mq.Subscription{Group: "all", Topic: "things"}, mqlaws.Effect("all"))
	})
	const many = 1200 // more than two parts
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		for range many + 2 {
			if err := o.Append(t.Context(), tx, "things", mqlaws.New("s", 0)); err != nil {
				return err
			}
		}
		return nil
	}))
	mqlaws.AwaitCount(t, db, many+2, "SELECT COUNT(*) FROM effect")
	mqlaws.AwaitCount(t, db, many+2, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	stop()
	exec := func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	exec("UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 1 HOUR ORDER BY id LIMIT 1")
	exec("UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 7 DAY ORDER BY id DESC LIMIT 1")
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error { return o.Append(t.Context(), tx, "things", mqlaws.New("timer", 0)) }))
	exec(`UPDATE mq_outbox SET deliver_at = NOW(3) + INTERVAL 1 HOUR, next_at = NOW(3) + INTERVAL 5 MINUTE, last_error = 'held' WHERE subject = 'timer'`)

	background(t, o.Relay)
	done := make(chan struct{})
	go func() { o.Backfill(t.Context(), time.Now().Add(-time.Minute)); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	mqlaws.AwaitCount(t, db, many, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND resent_at IS NOT NULL")
	mqlaws.AwaitCount(t, db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE subject = 'timer' AND state = 'SENT'")
	o.Backfill(t.Context(), time.Now().Add(-30*24*time.Hour))
	mqlaws.AwaitCount(t, db, many+1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND resent_at IS NOT NULL AND subject = 's'")
	assert.Equal(t, "1\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox WHERE resent_at IS NULL AND subject = 's'"), "seven days old")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM (SELECT 1 FROM effect GROUP BY event_id HAVING COUNT(*) > 1) q"))
}

// TestBackfillYields: a new event does not wait until all that is sent again is sent; and what is sent again does not go both ways.
func TestBackfillYields(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
	broker := &recorder{Transport: memory.New()}
	o := mq.NewOutbox(db, mq.NewBus("shop", broker, mq.Config{}), mq.OutboxConfig{Poll: 20 * time.Millisecond})
	const many = 2000
	add := func(subject string) {
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error { return o.Append(t.Context(), tx, "things", mqlaws.New(subject, 0)) }))
	}
	for range many / 100 {
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
			for range 100 {
				if err := o.Append(t.Context(), tx, "things", mqlaws.New(mq.NewID(), 0)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	_, err := db.ExecContext(t.Context(), "UPDATE mq_outbox SET state = 'SENT', closed_at = NOW(3)")
	require.NoError(t, err)
	background(t, o.Relay)
	go o.Backfill(t.Context(), time.Now().Add(-time.Minute))
	for n := 1; n <= 5; n++ {
		require.Eventually(t, func() bool { return broker.count() >= n*300 }, 30*time.Second, time.Millisecond)
		before := broker.count()
		add("new")
		require.Eventually(t, func() bool { return broker.has("new", n) }, 30*time.Second, time.Millisecond)
		assert.Less(t, broker.count()-before, 300, "sent before it")
	}
	mqlaws.AwaitCount(t, db, many, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND resent_at IS NOT NULL")
	broker.mu.Lock()
	defer broker.mu.Unlock()
	assert.EqualValues(t, many, broker.direct)
}

// TestBackfillGoesOn: events that cannot be sent do not keep others from being sent again.
func TestBackfillGoesOn(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
	o := mq.NewOutbox(db, mq.NewBus("shop", memory.New(), mq.Config{}), mq.OutboxConfig{Poll: 20 * time.Millisecond})
	for _, subject := range []string{"stuck", "free"} {
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
			for range 150 {
				if err := o.Append(t.Context(), tx, "things", mqlaws.New(subject, 0)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for _, query := range []string{
		"UPDATE mq_outbox SET next_at = NOW(3) + INTERVAL 1 HOUR, last_error = 'refused', refused_at = NOW(3) WHERE subject = 'stuck' ORDER BY id LIMIT 1",
		"UPDATE mq_outbox SET state = 'SENT', closed_at = NOW(3) WHERE subject = 'free'",
	} {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	background(t, o.Relay)
	go o.Backfill(t.Context(), time.Now().Add(-time.Minute))
	mqlaws.AwaitCount(t, db, 150, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND resent_at IS NOT NULL")
	mqlaws.AwaitCount(t, db, 150, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'READY'")
}

// recorder remembers what was sent, each of which took a while, and how much of it the usual way alone.
type recorder struct {
	*memory.Transport
	mu     sync.Mutex
	sent   []string
	direct int
}

func (r *recorder) Undisturbed() time.Duration { return time.Second }
func (r *recorder) Moved() <-chan struct{}     { return nil }
func (r *recorder) Direct() mq.Transport       { return usual{r} }

type usual struct{ *recorder }

func (u usual) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	u.mu.Lock()
	u.direct++
	u.mu.Unlock()
	return u.recorder.Send(ctx, topic, e, at)
}

func (r *recorder) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	time.Sleep(time.Millisecond) // as a broker
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, e.Subject)
	return r.Transport.Send(ctx, topic, e, at)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

func (r *recorder) has(subject string, times int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sent {
		if s == subject {
			n++
		}
	}
	return n >= times
}
