package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// broker is a transport that says that it has what it loses.
type broker struct {
	*memory.Transport
	loses atomic.Bool
	away  atomic.Bool // events go another way
}

func (b *broker) Undisturbed() time.Duration {
	if b.away.Load() {
		return 0
	}
	return math.MaxInt64
}

func (b *broker) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	if b.loses.Load() {
		return nil
	}
	return b.Transport.Send(ctx, topic, e, at)
}

func (b *broker) Moved() <-chan struct{} { return nil }
func (b *broker) Direct() mq.Transport   { return b }

// told are the alerts that last.
type told struct {
	mu   sync.Mutex
	last map[string]string
	ever []string
}

func (a *told) Raise(_ context.Context, key, summary, _ string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last[key] = summary
	a.ever = append(a.ever, summary)
	return nil
}

func (a *told) Clear(_ context.Context, key string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.last, key)
	return nil
}

// shop is publishers with databases of their own, and a consumer.
type shop struct {
	broker     *broker
	outboxes   map[string]*mq.Outbox
	publishers map[string]*sql.DB
	clients    map[string]mqv1.SentClient
	db         *sql.DB
	bus        *mq.Bus
	alerts     *told
	times      audit.Times
	stopRelay  map[string]func()
}

const topic = "things"

func newShop(t *testing.T, publishers ...string) *shop {
	s := &shop{broker: &broker{Transport: memory.New()}, outboxes: map[string]*mq.Outbox{}, publishers: map[string]*sql.DB{},
		clients: map[string]mqv1.SentClient{}, db: mysqltest.Open(t, mqlaws.Migrations, mq.Tables()), alerts: &told{last: map[string]string{}},
		stopRelay: map[string]func(){},
		times:     audit.Times{Every: 100 * time.Millisecond, After: time.Second}}
	s.bus = mq.NewBus("follower", s.broker, mq.Config{Keys: mqtest.Keys()})
	for _, name := range publishers {
		db := mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
		s.publishers[name] = db
		bus := mq.NewBus(name, s.broker, mq.Config{Keys: mqtest.Keys()})
		s.outboxes[name] = mq.NewOutbox(db, bus, mq.OutboxConfig{Poll: 20 * time.Millisecond})
		s.clients[name] = audit.NewServer(mqtest.Keys(), db, s.outboxes[name]).Local()
		s.stopRelay[name] = background(t, s.outboxes[name].Relay)
	}
	return s
}

func background(t *testing.T, work func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); assert.NoError(t, work(ctx)) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func (s *shop) publish(t *testing.T, publisher string, events ...mq.Event) {
	t.Helper()
	o := s.outboxes[publisher]
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		var failed error
		for _, e := range events {
			failed = errors.Join(failed, o.Append(t.Context(), tx, topic, e))
		}
		return failed
	}))
}

// settled waits until publisher has sent everything.
func (s *shop) settled(t *testing.T, publisher string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, s.publishers[publisher], "SELECT COUNT(*) FROM mq_outbox WHERE state <> 'SENT'") == "0\n--\n"
	}, 20*time.Second, 20*time.Millisecond)
}

func (s *shop) consume(t *testing.T, sub mq.Subscription) (stop func()) {
	sub.Topic = topic
	return background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect(sub.Group)) })
}

func (s *shop) audit(t *testing.T) (stop func()) {
	return background(t, audit.New(s.db, s.bus, mqtest.Keys(), s.clients, s.alerts, s.times).Run)
}

// complete waits until the last comparison of every group with every publisher, made after now, found everything.
func (s *shop) complete(t *testing.T) {
	t.Helper()
	var now time.Time
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT NOW(3)").Scan(&now))
	require.Eventually(t, func() bool {
		all, err := audit.Results(t.Context(), s.db)
		require.NoError(t, err)
		for _, r := range all {
			if !r.CompleteAt.After(now) {
				return false
			}
		}
		return len(all) == len(s.clients)*len(s.bus.Consumed())
	}, 30*time.Second, 50*time.Millisecond)
}

func (s *shop) resent(t *testing.T) (n int64) {
	t.Helper()
	all, err := audit.Results(t.Context(), s.db)
	require.NoError(t, err)
	for _, r := range all {
		n += r.Resent
	}
	return n
}

func event(subject, kind string) mq.Event {
	return mq.Event{Type: kind, Subject: subject, Data: []byte(`{}`), Attributes: map[string]string{"region": subject[:1]}}
}

// madeAt returns an id as NewID would at at.
func madeAt(at time.Time) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x%s", ms>>16, ms&0xffff, mq.NewID()[13:])
}
