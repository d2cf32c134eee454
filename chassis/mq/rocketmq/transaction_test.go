package rocketmq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// stage is a service that writes facts, a consumer, and the broker between them.
type stage struct {
	*rocketmqtest.Server
	topic, service, dsn string
	db                  *sql.DB
}

func newStage(t *testing.T, s *rocketmqtest.Server) stage {
	files := maps.Clone(mqlaws.Migrations)
	files["0002_fact.sql"] = &fstest.MapFile{Data: []byte(
		"-- +goose Up\nCREATE TABLE fact (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, subject VARBINARY(64) NOT NULL);")}
	st := stage{Server: s, topic: s.Topic(t), dsn: mysqltest.DSN(t)}
	st.service = "svc-" + st.topic
	var err error
	st.db, err = database.Open(database.Config{DSN: st.dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.db.Close() })
	require.NoError(t, database.Migrate(t.Context(), st.db, files, mq.Tables()))
	return st
}

func (s stage) dial(t *testing.T) *mq.Bus {
	return mq.NewBus(s.service, s.Broker(t, s.service), mq.Config{Keys: mqtest.Keys()})
}

// background runs work until the test ends.
func background(t *testing.T, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); assert.NoError(t, work(ctx)) }()
	t.Cleanup(func() { cancel(); <-done })
}

func (s stage) consume(t *testing.T, b *mq.Bus) {
	background(t, func(ctx context.Context) error { return b.Consume(ctx, s.db, group(s.topic), mqlaws.Effect("a")) })
}

func (s stage) crash(t *testing.T, kind, point string, grace time.Duration) {
	t.Helper()
	crash(t, kind, point, s.dsn, s.NameServer, s.service, s.topic, grace)
}

func anonymous(subject string) mq.Event {
	e := mqlaws.New(subject, 1)
	e.ID = ""
	return e
}

// TestPublishInTx: there is an event for each local transaction that committed, and none for those that did not.
func TestPublishInTx(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Grace: 12 * time.Second, HalfTimeout: 3 * time.Second, Poll: 100 * time.Millisecond})
	background(t, o.Relay)
	background(t, o.Answer(s.topic))
	no := errors.New("no")
	for n := range 20 {
		subject := fmt.Sprintf("s%d", n)
		err := o.PublishInTx(t.Context(), s.topic, anonymous(subject), func(tx *sql.Tx) error {
			if err := fact(t.Context(), tx, subject); err != nil || n%2 == 0 {
				return errors.Join(err, no)
			}
			return nil
		})
		if n%2 == 0 {
			require.ErrorIs(t, err, no)
		} else {
			require.NoError(t, err)
		}
	}
	mqlaws.AwaitCount(t, s.db, 10, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
	s.told(t)
	// Nothing had to be sent twice: the end messages sufficed while this process lives.
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM mq_outbox WHERE tries > 0"))
	assert.ErrorIs(t, o.PublishInTx(t.Context(), s.topic, mq.Event{Subject: "x"}, nil), mq.ErrRefused, "an event without a type")
}

// told checks that each fact has one effect and each effect a fact.
func (s stage) told(t *testing.T) {
	t.Helper()
	assert.Equal(t, "--\n--\n", mysqltest.Dump(t, s.db,
		"SELECT subject FROM fact WHERE (SELECT COUNT(*) FROM effect WHERE effect.subject = fact.subject) <> 1",
		"SELECT subject FROM effect WHERE (SELECT COUNT(*) FROM fact WHERE effect.subject = fact.subject) <> 1"))
}

// replay returns what the broker delivers of the topic, as often as it has it, those of a subject in order.
func (s stage) replay(t *testing.T) (events []mq.Event) {
	t.Helper()
	_, err := s.Broker(t, s.service).Replay(t.Context(), s.topic, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "", func(d mq.Delivery) error {
		events = append(events, d.Event)
		return d.Broken
	})
	require.NoError(t, err)
	return events
}

// TestProducerKilledBehindHalf: a producer is killed before its local transaction. Another process answers that it will never come.
func TestProducerKilledBehindHalf(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	s.crash(t, "producer", "mq/half", time.Hour)
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{LongestTx: time.Second})
	background(t, o.Answer(s.topic))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'VOID'")
	require.NoError(t, o.PublishInTx(t.Context(), s.topic, anonymous("t"), func(tx *sql.Tx) error { return fact(t.Context(), tx, "t") }))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	s.told(t)
}

// TestProducerKilledBehindLocal: a producer is killed after its local transaction. Another process answers that it happened. That the relay
// later sends the event too changes nothing.
func TestProducerKilledBehindLocal(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	s.crash(t, "producer", "mq/local", time.Hour)
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{LongestTx: time.Second, Poll: 100 * time.Millisecond})
	background(t, o.Answer(s.topic))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "HALF\n--\n", mysqltest.Dump(t, s.db, "SELECT state FROM mq_outbox"))

	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_outbox SET next_at = NOW(3)")
	require.NoError(t, err)
	background(t, o.Relay)
	mqlaws.Settled(t, s.db)
	s.told(t)
}

// TestProducerAwayForLong: no process of the service can be asked for so long that the broker gives up the half message. The service comes back,
// and its relay sends the event.
func TestProducerAwayForLong(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start("transactionCheckMax=2")
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := newStage(t, server)
	s.crash(t, "producer", "mq/local", time.Second)
	require.Eventually(t, func() bool {
		gaveUp, err := server.Said("has been checked too many times, so discard it")
		return err == nil && gaveUp
	}, 90*time.Second, 100*time.Millisecond, "the broker gives the half message up")
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Poll: 100 * time.Millisecond})
	background(t, o.Answer(s.topic))
	assert.Equal(t, "HALF 0\n--\n0\n--\n", mysqltest.Dump(t, s.db, "SELECT state, tries FROM mq_outbox", "SELECT COUNT(*) FROM effect"))
	background(t, o.Relay)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
	assert.Len(t, s.replay(t), 1, "the half message was committed as well")
	s.told(t)
}

// TestConsumerKilled: a consumer is killed between effect and commit, and between commit and acknowledgement. After the next one the effect has
// happened once in all.
func TestConsumerKilled(t *testing.T) {
	t.Parallel()
	for point, effects := range map[string]string{"effect": "0\n--\n", "committed": "1\n--\n"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, rocketmqtest.Shared(t))
			b := s.dial(t)
			require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New("s", 1)))
			s.crash(t, "consumer", "consume/"+group(s.topic).Group+"/"+point, time.Hour)
			assert.Equal(t, effects, mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect"))
			require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New("s", 2)))
			s.consume(t, b)
			mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
			mqlaws.Settled(t, s.db)
		})
	}
}

// TestBrokerKilledUnderLoad: 500 events go both ways while the broker is killed and started again; no caller gets an error.
func TestBrokerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := newStage(t, server)
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Grace: 20 * time.Second, LongestTx: 5 * time.Second})
	background(t, o.Relay)
	background(t, o.Answer(s.topic))

	var (
		wg   sync.WaitGroup
		next atomic.Int64
	)
	const events = 500
	for range 5 {
		wg.Go(func() {
			for n := next.Add(1); n <= events; n = next.Add(1) {
				subject := fmt.Sprintf("s%d", n)
				change := func(tx *sql.Tx) error { return fact(t.Context(), tx, subject) }
				if n%2 == 0 {
					assert.NoError(t, o.PublishInTx(t.Context(), s.topic, anonymous(subject), change))
					continue
				}
				assert.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
					return errors.Join(change(tx), o.Append(t.Context(), tx, s.topic, mqlaws.New(subject, 1)))
				}))
			}
		})
	}
	require.Eventually(t, func() bool { return next.Load() > 150 }, time.Minute, time.Millisecond)
	server.Kill()
	require.Eventually(t, func() bool { return next.Load() > 300 }, time.Minute, time.Millisecond)
	require.NoError(t, server.Restart())
	wg.Wait()
	mqlaws.AwaitCount(t, s.db, events, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
	s.told(t)
}

// TestBrokerCameBackEmpty: the broker loses its store under a running consumer. What is published next may come before the consumer has learned
// that its place is beyond the end, and is passed over; a replay from the broker's return mends that, and what was had has no second effect.
func TestBrokerCameBackEmpty(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := newStage(t, server)
	b := s.dial(t)
	s.consume(t, b)
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Poll: 20 * time.Millisecond})
	background(t, o.Relay)
	publish := func(from, to int) {
		t.Helper()
		for n := from; n <= to; n++ {
			require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
				subject := fmt.Sprintf("s%d", n)
				return errors.Join(fact(t.Context(), tx, subject), o.Append(t.Context(), tx, s.topic, mqlaws.New(subject, 1)))
			}))
		}
	}
	publish(1, 60)
	mqlaws.AwaitCount(t, s.db, 60, "SELECT COUNT(*) FROM effect")

	server.Kill()
	publish(61, 80) // they wait in the outbox
	require.NoError(t, server.Lose())
	returned := time.Now()
	require.NoError(t, server.Restart())
	server.Create(t, s.topic)
	mqlaws.AwaitCount(t, s.db, 80, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	publish(81, 90)
	mqlaws.AwaitCount(t, s.db, 90, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")

	position, effects := "", int64(0)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for {
			span := mq.Span{Group: group(s.topic).Group, Topic: s.topic, From: returned, To: time.Now(), Position: position}
			done, err := b.Replay(t.Context(), span, 500)
			effects += done.Effects
			if !assert.NoError(c, err) {
				return
			}
			if position = done.Next; position == "" {
				return
			}
		}
	}, time.Minute, 100*time.Millisecond)
	mqlaws.AwaitCount(t, s.db, 90, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
	s.told(t)
	t.Logf("of 30 events the replay brought %d", effects)
}
