package rocketmq_test

import (
	"bytes"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestRelayKeepsWhatTheBrokerDidNotTake: a row is open until the broker has its event, and a subject that cannot be sent holds up no other.
func TestRelayKeepsWhatTheBrokerDidNotTake(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Poll: 50 * time.Millisecond})
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(o.Append(t.Context(), tx, "not-made-yet-"+s.topic, mqlaws.New("stuck", 1)),
			o.Append(t.Context(), tx, s.topic, mqlaws.New("s", 1)))
	}))
	background(t, o.Relay)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'READY' AND tries > 2 AND last_error <> ''")
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error { return o.Append(t.Context(), tx, s.topic, mqlaws.New("s", 2)) }))
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")

	s.Create(t, "not-made-yet-"+s.topic)
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM mq_outbox WHERE state <> 'SENT'") == "0\n--\n"
	}, 30*time.Second, 50*time.Millisecond)
}

// TestRelayKilledBehindSend: a relay is killed when the broker has the first event of a subject and its row does not say so yet. The next relay
// sends it again, then the others, and it has its effect once.
func TestRelayKilledBehindSend(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{})
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		for n := range int64(3) {
			if err := o.Append(t.Context(), tx, s.topic, mqlaws.New("s", n+1)); err != nil {
				return err
			}
		}
		return nil
	}))
	s.crash(t, "relay", "outbox/sent", time.Hour)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "READY 1\nREADY 0\nREADY 0\n--\n", mysqltest.Dump(t, s.db, "SELECT state, tries FROM mq_outbox ORDER BY id"))

	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_outbox SET next_at = NOW(3)") // the dead one's lease is over
	require.NoError(t, err)
	background(t, o.Relay)
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
	var sent []int64
	for _, e := range s.replay(t) {
		sent = append(sent, e.Sequence)
	}
	assert.Equal(t, []int64{1, 1, 2, 3}, sent)
}

// TestRelayToldToStop: a relay that is told to stop while it sends an event ends after the row says that the broker has it.
func TestRelayToldToStop(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{})
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error { return o.Append(t.Context(), tx, s.topic, mqlaws.New("s", 1)) }))
	cmd := command("stopped", "outbox/sent", s.dsn, s.NameServer, s.service, s.topic, time.Hour)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = stdin.Close(); _ = cmd.Wait() }()
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "READY 1\n--\n", mysqltest.Dump(t, s.db, "SELECT state, tries FROM mq_outbox"), "%s", out)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait(), "%s", out)
	assert.Equal(t, "SENT 1\n--\n", mysqltest.Dump(t, s.db, "SELECT state, tries FROM mq_outbox"), "%s", out)
}

// TestAppendRefuses what could never be sent, while the caller can still roll back.
func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	o := mq.NewOutbox(s.db, s.dial(t), mq.OutboxConfig{})
	err := database.InTx(t.Context(), s.db, func(tx *sql.Tx) error { return o.Append(t.Context(), tx, s.topic, mq.Event{ID: "1"}) })
	require.ErrorIs(t, err, mq.ErrRefused)
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM mq_outbox"))
}

// TestTrace: the span that appended an event, the one that sent it and the one that consumed it are of one trace.
func TestTrace(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(recorder)))
	s := newStage(t, rocketmqtest.Shared(t))
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{})
	background(t, o.Relay)
	ctx, span := otel.Tracer("test").Start(t.Context(), "request")
	require.NoError(t, o.InTx(ctx, func(tx *sql.Tx) error { return o.Append(ctx, tx, s.topic, mqlaws.New("s", 1)) }))
	span.End()
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	parents := map[string]string{}
	require.Eventually(t, func() bool {
		ids := map[string]string{}
		for _, r := range recorder.Ended() {
			if r.SpanContext().TraceID() == span.SpanContext().TraceID() {
				ids[r.SpanContext().SpanID().String()] = r.Name()
			}
		}
		for _, r := range recorder.Ended() {
			if r.SpanContext().TraceID() == span.SpanContext().TraceID() {
				parents[r.Name()] = ids[r.Parent().SpanID().String()]
			}
		}
		return len(parents) == 3
	}, 20*time.Second, 20*time.Millisecond)
	publish, consume := "publish "+s.topic, "consume "+group(s.topic).Group
	assert.Equal(t, map[string]string{"request": "", publish: "request", consume: publish}, parents)
}

// TestRows: open rows are counted, with the age of the oldest.
func TestRows(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	_, err := s.db.ExecContext(t.Context(), `INSERT INTO mq_outbox (event_id, topic, subject, event, state, created_at) VALUES
		('1', 't', '', '', 'READY', NOW(3) - INTERVAL 100 SECOND), ('2', 't', '', '', 'READY', NOW(3)), ('3', 't', '', '', 'SENT', NOW(3))`)
	require.NoError(t, err)
	_, err = s.db.ExecContext(t.Context(), `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, created_at) VALUES
		('g', 's', '1', 't', 'x', '', 0, 'DEAD', NOW(3) - INTERVAL 50 SECOND), ('g', 's', '2', 't', 'x', '', 0, 'DONE', NOW(3))`)
	require.NoError(t, err)
	rows, err := mq.OpenRows(t.Context(), s.db)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	assert.Equal(t, []any{"outbox", "", "READY", int64(2)}, []any{rows[0].Box, rows[0].Group, rows[0].State, rows[0].Count})
	assert.InDelta(t, 100, rows[0].Oldest.Seconds(), 20)
	assert.Equal(t, []any{"inbox", "g", "DEAD", int64(1)}, []any{rows[1].Box, rows[1].Group, rows[1].State, rows[1].Count})
	assert.InDelta(t, 50, rows[1].Oldest.Seconds(), 20)
}

// TestMissingTopic: events for a topic that was never created hold up no others.
func TestMissingTopic(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	o := mq.NewOutbox(s.db, s.dial(t), mq.OutboxConfig{})
	background(t, o.Relay)
	began := time.Now()
	for range 200 {
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
			if err := o.Append(t.Context(), tx, s.topic+"-missing", mqlaws.New(mq.NewID(), 1)); err != nil {
				return err
			}
			return o.Append(t.Context(), tx, s.topic, mqlaws.New(mq.NewID(), 1))
		}))
	}
	mqlaws.AwaitCount(t, s.db, 200, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	assert.Less(t, time.Since(began), 20*time.Second)
	assert.Equal(t, "200\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'READY'"))
}

// TestTopicThatIsThereStays: an existing topic keeps its number of queues, whoever set it.
func TestTopicThatIsThereStays(t *testing.T) {
	t.Parallel()
	server := rocketmqtest.Shared(t)
	topic := server.Topic(t) // with four
	require.NoError(t, rocketmq.CreateTopic(t.Context(), rocketmq.Config{NameServers: server.NameServer}, topic, 2))
	a, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{server.NameServer})))
	require.NoError(t, err)
	defer func() { _ = a.Close() }()
	// The broker reports a change to the name server at once.
	require.Never(t, func() bool {
		queues, err := a.FetchPublishMessageQueues(t.Context(), topic)
		return err == nil && len(queues) != 4
	}, time.Second, 100*time.Millisecond)
}
