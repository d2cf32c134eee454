package mq_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

// replayed calls Replay until the end and adds up the results.
func replayed(t *testing.T, b *mq.Bus, s mq.Span, limit int) (sum mq.Replayed, calls int) {
	t.Helper()
	for {
		calls++
		r, err := b.Replay(t.Context(), s, limit)
		require.NoError(t, err)
		sum.Offered += r.Offered
		sum.Effects += r.Effects
		sum.Waiting += r.Waiting
		sum.Known += r.Known
		sum.Dropped += r.Dropped
		if s.Position = r.Next; s.Position == "" {
			return sum, calls
		}
		require.Less(t, calls, 100)
	}
}

// TestReplay: a group that lost some of its events, as by a restored backup, gets them again; what it still knows has no second effect.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	sub.Order, sub.Types, sub.Filter = mq.Unordered, []string{"thing.happened"}, "region = 'eu'"
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
	publish := func(n int, kind, region string) {
		e := mqlaws.New(fmt.Sprintf("s%d", n), 0)
		e.Type, e.Attributes = kind, map[string]string{"region": region}
		require.NoError(t, s.bus.Publish(t.Context(), s.topic, e))
	}
	from := time.Now()
	for n := range 20 {
		publish(n, "thing.happened", "eu")
		publish(n, "thing.else", "eu")
		publish(n, "thing.happened", "us")
	}
	mqlaws.AwaitCount(t, s.db, 20, "SELECT COUNT(*) FROM effect")
	span := mq.Span{Group: sub.Group, Topic: s.topic, From: from, To: time.Now()}

	all, calls := replayed(t, s.bus, span, 7)
	assert.Equal(t, mq.Replayed{Offered: 20, Known: 20}, all)
	assert.Equal(t, 9, calls, "60 messages, 7 a call")
	for _, stmt := range []string{"DELETE FROM effect WHERE subject IN ('s3', 's4', 's5')",
		"DELETE FROM mq_inbox WHERE subject IN ('s3', 's4', 's5')"} {
		_, err := s.db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	all, _ = replayed(t, s.bus, span, 1000)
	assert.Equal(t, mq.Replayed{Offered: 20, Known: 17, Effects: 3}, all)
	assert.Equal(t, "20\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(DISTINCT event_id) FROM effect"))
	mqlaws.Settled(t, s.db)

	span.To = from
	none, _ := replayed(t, s.bus, span, 10)
	assert.Equal(t, mq.Replayed{}, none)
}

// TestReplayOutcomes: an event whose turn has not come waits, as does one that fails; one that is too old is dropped.
func TestReplayOutcomes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	from := time.Now()
	for _, n := range []int64{1, 2, 3} {
		require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("s", n)))
	}
	require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("fails", 0)))
	sub := group(s.topic)
	sub.FirstPause, sub.LongestPause = time.Hour, time.Hour
	background(t, func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if e.Subject == "fails" {
				return mq.ErrNotYet
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM mq_inbox")
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
	for _, stmt := range []string{"DELETE FROM effect", "DELETE FROM mq_inbox", "UPDATE mq_position SET seq = 1"} {
		_, err := s.db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	all, _ := replayed(t, s.bus, mq.Span{Group: sub.Group, Topic: s.topic, From: from, To: time.Now()}, 10)
	assert.Equal(t, mq.Replayed{Offered: 4, Effects: 2, Waiting: 1, Dropped: 1}, all)
	assert.Equal(t, "2\n3\n--\n", mysqltest.Dump(t, s.db, "SELECT seq FROM effect ORDER BY id"))
}

// TestDeliveredAgainIsRemembered: the row of an event that is delivered again, days after its effect, is kept as long as that of a new event.
func TestDeliveredAgainIsRemembered(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) })
	from := time.Now()
	for _, subject := range []string{"old", "young"} {
		require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New(subject, 1)))
	}
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_inbox SET closed_at = NOW(3) - INTERVAL IF(subject = 'old', 6 * 24 * 60, 30) MINUTE")
	require.NoError(t, err)
	all, _ := replayed(t, s.bus, mq.Span{Group: group(s.topic).Group, Topic: s.topic, From: from, To: time.Now()}, 10)
	assert.Equal(t, mq.Replayed{Offered: 2, Known: 2}, all)
	assert.Equal(t, "old|0\nyoung|1\n--\n", strings.ReplaceAll(mysqltest.Dump(t, s.db,
		"SELECT CONCAT_WS('|', subject, closed_at < NOW(3) - INTERVAL 20 MINUTE) FROM mq_inbox ORDER BY subject"), " ", ""))
	mqlaws.Settled(t, s.db)
}

// stuck is a history that reads nothing before ctx ends.
type stuck struct{ *memory.Transport }

func (stuck) Replay(ctx context.Context, _ string, _, _ time.Time, position string, _ func(mq.Delivery) error) (string, error) {
	<-ctx.Done()
	return position, ctx.Err()
}

// TestReplayNotBegun: the result of a call whose time is over before anything was read does not look like the end.
func TestReplayNotBegun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := mq.NewBus("svc", stuck{s.transport}, mq.Config{})
	background(t, func(ctx context.Context) error { return b.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) })
	require.Eventually(t, func() bool { return len(b.Groups()) == 1 }, 20*time.Second, time.Millisecond)
	for _, position := range []string{"", "somewhere"} { // nor like progress: the caller would ask for the same again without end
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		done, err := b.Replay(ctx, mq.Span{Group: group(s.topic).Group, Topic: s.topic, Position: position}, 1)
		assert.ErrorIs(t, err, context.DeadlineExceeded, position)
		assert.ErrorIs(t, err, mq.ErrUnavailable, position)
		assert.Equal(t, position, done.Next)
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, err := s.bus.Replay(t.Context(), mq.Span{Group: "nobody", Topic: s.topic}, 1)
	assert.ErrorIs(t, err, mq.ErrNoConsumer)
	running := make(chan struct{})
	require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("s", 1)))
	background(t, func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.db, group(s.topic), func(context.Context, *sql.Tx, mq.Event) error { close(running); return nil })
	})
	<-running
	_, err = s.bus.Replay(t.Context(), mq.Span{Group: group(s.topic).Group, Topic: "other"}, 1)
	assert.ErrorIs(t, err, mq.ErrRefused)
	assert.ErrorContains(t, err, "consumes topic "+s.topic)
	_, err = s.bus.Replay(t.Context(), mq.Span{Group: group(s.topic).Group, Topic: s.topic, Position: "x"}, 1)
	assert.ErrorIs(t, err, mq.ErrRefused)
	_, err = s.bus.Replay(t.Context(), mq.Span{Group: group(s.topic).Group, Topic: s.topic}, 0)
	assert.ErrorIs(t, err, mq.ErrRefused)

	away := mq.NewBus("svc", mqtest.Away{}, mq.Config{})
	background(t, func(ctx context.Context) error { return away.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) })
	require.Eventually(t, func() bool {
		_, err = away.Replay(t.Context(), mq.Span{Group: group(s.topic).Group, Topic: s.topic}, 1)
		return err != nil && !assert.ObjectsAreEqual(mq.ErrNoConsumer, err) && fmt.Sprint(err) == mq.ErrNoHistory.Error()
	}, 20*time.Second, time.Millisecond)
}

// TestResend: what was sent since a time is sent again, once, in order; no group has a second effect, and a new group has its first.
func TestResend(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	o := mq.NewOutbox(s.db, s.bus, mq.OutboxConfig{Poll: 20 * time.Millisecond})
	background(t, o.Relay)
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) })
	send := func(subject string, from, to int64) {
		t.Helper()
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
			for n := from; n <= to; n++ {
				if err := o.Append(t.Context(), tx, s.topic, mqlaws.New(subject, n)); err != nil {
					return err
				}
			}
			return nil
		}))
		mqlaws.AwaitCount(t, s.db, int(to), "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND subject = '"+subject+"'")
	}
	send("old", 1, 5)
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 1 HOUR")
	require.NoError(t, err)
	send("new", 1, 10)
	mqlaws.AwaitCount(t, s.db, 15, "SELECT COUNT(*) FROM effect")

	var since time.Time
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT NOW(3) - INTERVAL 30 MINUTE").Scan(&since))
	var (
		until time.Time
		total int64
	)
	for calls := 1; ; calls++ {
		r, err := o.Resend(t.Context(), "", since, until, 4)
		require.NoError(t, err)
		total += r.Events
		if until = r.Until; !r.More {
			assert.Equal(t, 3, calls)
			break
		}
		// What was sent again meanwhile is not sent a third time.
		mqlaws.AwaitCount(t, s.db, 15, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	}
	assert.EqualValues(t, 10, total)
	mqlaws.AwaitCount(t, s.db, 15, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	var sent []int64
	events, err := mqtest.Events(t.Context(), s.transport, s.topic, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	for _, e := range events {
		if e.Subject == "new" {
			sent = append(sent, e.Sequence)
		}
	}
	assert.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, sent)
	require.Len(t, events, 25)
	mqlaws.Settled(t, s.db)
	assert.Equal(t, "15\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect"))

	other, err := o.Resend(t.Context(), "another-topic", since, time.Time{}, 4)
	require.NoError(t, err)
	assert.Zero(t, other.Events)
	assert.False(t, other.More)
}

// TestResendHalves: that the transport had a half message is known up to Grace later, so the row is still open, or was closed after the span.
func TestResendHalves(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	o := mq.NewOutbox(s.db, s.bus, mq.OutboxConfig{Grace: time.Minute})
	for _, id := range []string{"open", "closed later", "closed in the span", "half after the span", "closed much later", "plain, closed later"} {
		e := mqlaws.New(id, 1)
		e.ID = id
		require.NoError(t, database.InTx(t.Context(), s.db, func(tx *sql.Tx) error { return o.Append(t.Context(), tx, s.topic, e) }))
	}
	until := time.Now().UTC().Truncate(time.Second).Add(-10 * time.Minute)
	for id, row := range map[string]struct {
		state      string
		half, done any
	}{
		"open":                {"HALF", until.Add(-time.Second), nil},
		"closed later":        {"SENT", until.Add(-time.Second), until.Add(30 * time.Second)},
		"closed in the span":  {"SENT", nil, until},
		"half after the span": {"HALF", until.Add(time.Second), nil},
		"closed much later":   {"SENT", until.Add(-time.Second), until.Add(2 * time.Minute)},
		"plain, closed later": {"SENT", nil, until.Add(30 * time.Second)},
	} {
		_, err := s.db.ExecContext(t.Context(), "UPDATE mq_outbox SET state = ?, half_at = ?, closed_at = ? WHERE event_id = ?", row.state, row.half, row.done, id)
		require.NoError(t, err)
	}
	r, err := o.Resend(t.Context(), "", until.Add(-time.Hour), until, 10)
	require.NoError(t, err)
	assert.EqualValues(t, 3, r.Events)
	assert.Equal(t, "closed in the span\nclosed later\nopen\n--\n", mysqltest.Dump(t, s.db,
		"SELECT event_id FROM mq_outbox WHERE state = 'READY' AND half_at IS NULL AND closed_at IS NULL ORDER BY event_id"))
	r, err = o.Resend(t.Context(), "", until.Add(-time.Hour), until, 10)
	require.NoError(t, err)
	assert.Zero(t, r.Events, "calls come to an end")
}

// TestReplayUnderNewKey: a replay of what was believed when it came leaves no dead letters when its key is not known any more.
func TestReplayUnderNewKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, key := range []string{"k1:00112233445566778899aabbccddeeff", "k2:ffeeddccbbaa99887766554433221100"} {
		keys, err := mac.Parse(key)
		require.NoError(t, err)
		bus := mq.NewBus("svc", s.transport, mq.Config{Keys: keys})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- bus.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) }()
		require.NoError(t, bus.Publish(t.Context(), s.topic, mqlaws.New(key, 1)))
		mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE subject = '"+key+"'")
		if key[:2] == "k2" {
			span := mq.Span{Group: group(s.topic).Group, Topic: s.topic, From: time.Now().Add(-time.Hour), To: time.Now()}
			r, err := bus.Replay(t.Context(), span, 10)
			require.NoError(t, err)
			assert.Equal(t, mq.Replayed{Offered: 2, Known: 1, Dropped: 1}, r)
		}
		stop()
		require.NoError(t, <-done)
	}
	assert.Equal(t, "DONE 2\n--\n", mysqltest.Dump(t, s.db, "SELECT state, COUNT(*) FROM mq_inbox GROUP BY state"))
}
