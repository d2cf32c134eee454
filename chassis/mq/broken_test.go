package mq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestUnreadableRows: rows whose events cannot be read, more of them than are looked at at a time, are dead letters and hold up no other:
// neither waiting events nor overdue timers.
func TestUnreadableRows(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"no event": `{}`, "no JSON": `{`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			exec := func(stmt string, args ...any) {
				t.Helper()
				_, err := s.db.ExecContext(t.Context(), stmt, args...)
				require.NoError(t, err)
			}
			sub := group(s.topic)
			for n := range 130 {
				exec(`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, event, next_at)
					VALUES (?, '/laws', ?, ?, 'x', ?, 1, 'WAITING', ?, NOW(3) - INTERVAL 1 HOUR)`, sub.Group, fmt.Sprint(n), s.topic, fmt.Sprint(n), text)
				exec(`INSERT INTO mq_timer (id, due_at, event, wake, state) VALUES (?, NOW(3) - INTERVAL 1 HOUR, ?, ?, 'ARMED')`,
					fmt.Sprint(n), text, fmt.Sprint("wake-", n))
			}
			good := mqlaws.New("good", 1)
			body, err := good.MarshalJSON()
			require.NoError(t, err)
			exec(`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, event, next_at)
				VALUES (?, '/laws', ?, ?, 'x', 'good', 1, 'WAITING', ?, NOW(3))`, sub.Group, good.ID, s.topic, body)
			exec(`INSERT INTO mq_timer (id, due_at, event, wake, state) VALUES ('good', NOW(3) - INTERVAL 1 MINUTE, ?, 'wake-good', 'ARMED')`, body)
			outbox := mq.NewOutbox(s.db, s.bus, mq.OutboxConfig{})
			timers := mq.NewTimers(outbox, "timers", mqlaws.Effect("timers"))
			background(t, timers.Run)
			background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
			mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
			mqlaws.AwaitCount(t, s.db, 260, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
		})
	}
}

// TestUnprintableError: a handler's error that is no text holds up nothing.
func TestUnprintableError(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	sub.Tries = 1
	background(t, func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.db, sub, func(context.Context, *sql.Tx, mq.Event) error { return errors.New("a\xff\xfe\x00b\xc3") })
	})
	require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 1)))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
}

// refusing is a transport whose broker refuses what is about "large".
type refusing struct{ *memory.Transport }

func (r refusing) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	if e.Subject == "large" {
		return fmt.Errorf("%w: too large \xff", mq.ErrRefused)
	}
	return r.Transport.Send(ctx, topic, e, at)
}

// TestDiscardRefused: an event that the broker refuses for good holds up its subject, is listed, and can be discarded. Then the others go on.
func TestDiscardRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	outbox := mq.NewOutbox(s.db, mq.NewBus("svc", refusing{s.transport}, mq.Config{}), mq.OutboxConfig{Poll: 20 * time.Millisecond})
	require.NoError(t, outbox.InTx(t.Context(), func(tx *sql.Tx) error {
		first := outbox.Append(t.Context(), tx, s.topic, mqlaws.New("large", 1))
		return errors.Join(first, outbox.Append(t.Context(), tx, s.topic, mqlaws.New("large", 2)),
			outbox.Append(t.Context(), tx, s.topic, mqlaws.New("small", 1)))
	}))
	background(t, outbox.Relay)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE id = 1 AND last_error LIKE '%too large%'")
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	refused, err := mq.RefusedEvents(t.Context(), s.db, 10)
	require.NoError(t, err)
	assert.Equal(t, []int64{1}, refused)
	require.ErrorIs(t, outbox.DiscardRefused(t.Context(), 2), mq.ErrNotRefused, "it only waits")
	require.ErrorIs(t, outbox.DiscardRefused(t.Context(), 3), mq.ErrNotRefused, "it was sent")
	require.NoError(t, outbox.DiscardRefused(t.Context(), 1))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE id = 2 AND refused_at IS NOT NULL")
	assert.Equal(t, "DROPPED\nREADY\nSENT\n--\n", mysqltest.Dump(t, s.db, "SELECT state FROM mq_outbox ORDER BY id"))
}
