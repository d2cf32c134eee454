package mq_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// without is a transport that lacks a topic, and takes half messages only when told to.
type without struct {
	*memory.Transport
	topic string
	half  func() error
}

func (w without) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	if topic == w.topic {
		return mq.ErrUnavailable
	}
	return w.Transport.Send(ctx, topic, e, at)
}

func (w without) Transactions(mq.Check) mq.Transactions { return w }

func (w without) Half(context.Context, string, mq.Event, time.Time, func() mq.Verdict) error {
	return w.half()
}

func (without) Answer(ctx context.Context, _ string) error { <-ctx.Done(); return nil }

// TestQuietBesideMissingTopic: events for a topic that was never created do not make the few others wait.
func TestQuietBesideMissingTopic(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	o := mq.NewOutbox(s.db, mq.NewBus("svc", without{s.transport, "missing", nil}, mq.Config{}), mq.OutboxConfig{})
	background(t, o.Relay)
	send := func(topic, subject string) {
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error { return o.Append(t.Context(), tx, topic, mqlaws.New(subject, 1)) }))
	}
	for _, subject := range []string{"a", "b", "c"} {
		send("missing", subject)
	}
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM mq_outbox WHERE tries >= 4")
	began := time.Now()
	for n, subject := range []string{"d", "e", "f", "g", "h", "i", "j", "k"} {
		send(s.topic, subject)
		mqlaws.AwaitCount(t, s.db, n+1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	}
	assert.Less(t, time.Since(began), 8*time.Second)
}

// TestHalvesFailAlone: where plain sends work and half messages do not, one call per pause finds that out and the others do without.
func TestHalvesFailAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	tried := 0
	transport := without{s.transport, "missing", func() error { tried++; return mq.ErrUnavailable }}
	o := mq.NewOutbox(s.db, mq.NewBus("svc", transport, mq.Config{}), mq.OutboxConfig{HalfPause: time.Hour, Poll: 10 * time.Millisecond})
	background(t, o.Relay)
	for n := range 20 {
		require.NoError(t, o.PublishInTx(t.Context(), s.topic, mq.Event{Type: "thing.happened"}, func(*sql.Tx) error { return nil }))
		mqlaws.AwaitCount(t, s.db, n+1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	}
	assert.Equal(t, 1, tried)
}

// TestPublishedBefore: an event whose id the caller gave before is refused with ErrPublished.
func TestPublishedBefore(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	o := mq.NewOutbox(s.db, s.bus, mq.OutboxConfig{})
	e := mq.Event{ID: "e-1", Type: "thing.happened"}
	require.NoError(t, o.PublishInTx(t.Context(), s.topic, e, func(*sql.Tx) error { return nil }))
	assert.ErrorIs(t, o.PublishInTx(t.Context(), s.topic, e, func(*sql.Tx) error { t.Error("a second time"); return nil }), mq.ErrPublished)
	assert.Equal(t, "e-1 READY /svc\n--\n", mysqltest.Dump(t, s.db, "SELECT event_id, state, JSON_VALUE(event, '$.source') FROM mq_outbox"))
}
