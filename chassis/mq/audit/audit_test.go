package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
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
}

func (b *broker) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	if b.loses.Load() {
		return nil
	}
	return b.Transport.Send(ctx, topic, e, at)
}

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

// TestLost: what the broker took and lost is sent again by itself, of each publisher to each group that wants it, and only that. It has its
// effect once, is counted, and operators are told until nothing is missing.
func TestLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one", "two")
	s.consume(t, mq.Subscription{Group: "all"})
	s.consume(t, mq.Subscription{Group: "some", Types: []string{"a"}})
	s.consume(t, mq.Subscription{Group: "filtered", Filter: "region = 'x'"})
	send := func(n int) {
		for i := range n {
			for _, publisher := range []string{"one", "two"} {
				s.publish(t, publisher, event(fmt.Sprint("x", i), "a"), event(fmt.Sprint("y", i), "b"))
			}
		}
		s.settled(t, "one")
		s.settled(t, "two")
	}
	send(10)
	mqlaws.AwaitCount(t, s.db, 40+20+20, "SELECT COUNT(*) FROM effect")
	s.audit(t)
	s.complete(t)
	assert.Zero(t, s.resent(t))
	s.broker.loses.Store(true)
	send(3)
	s.broker.loses.Store(false)
	mqlaws.AwaitCount(t, s.db, 52+26+26, "SELECT COUNT(*) FROM effect")
	s.complete(t)
	all, err := audit.Results(t.Context(), s.db)
	require.NoError(t, err)
	again := map[string]int64{}
	for _, r := range all {
		again[r.Publisher] += r.Resent
	}
	assert.Equal(t, map[string]int64{"one": 6, "two": 6}, again, "whichever group asks first, an event is sent again once")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect GROUP BY grp, event_id HAVING COUNT(*) > 1 UNION SELECT 0"))
	s.alerts.mu.Lock()
	defer s.alerts.mu.Unlock()
	assert.Contains(t, strings.Join(s.alerts.ever, "\n"), "event(s) of one have not come to group all and are sent again")
	assert.Empty(t, s.alerts.last, "all has come")
}

// TestNothingLost: while all arrives, under traffic, nothing is sent again and nobody is told. An event that the outbox holds but has not sent,
// or that is due later, is not missing.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	s.audit(t)
	for i := range 100 {
		s.publish(t, "one", event(fmt.Sprint("x", i), "a"))
		time.Sleep(20 * time.Millisecond) // traffic over several comparisons
	}
	s.publish(t, "one", event("later", "a"))
	_, err := s.publishers["one"].ExecContext(t.Context(), `UPDATE mq_outbox SET state = 'SENT', deliver_at = NOW(3) + INTERVAL 1 HOUR,
		closed_at = NOW(3) - INTERVAL 1 HOUR WHERE subject = 'later'`)
	require.NoError(t, err)
	s.complete(t)
	assert.Zero(t, s.resent(t))
	assert.Empty(t, s.alerts.ever)
}

// TestBrokerAwayIsNoLoss: while the broker takes nothing, nothing is sent again: what is missing may lie there.
func TestBrokerAwayIsNoLoss(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	stop := s.audit(t)
	s.complete(t)
	stop()
	s.broker.loses.Store(true)
	s.publish(t, "one", event("x", "a"))
	s.settled(t, "one")
	s.stopRelay["one"]() // as if each of its sends took long
	s.publish(t, "one", event("y", "a"))
	_, err := s.publishers["one"].ExecContext(t.Context(), "UPDATE mq_outbox SET next_at = NOW(3) - INTERVAL 1 MINUTE WHERE subject = 'y'")
	require.NoError(t, err)
	s.audit(t)
	require.Eventually(t, func() bool {
		all, err := audit.Results(t.Context(), s.db)
		return err == nil && len(all) == 1 && (all[0].LastError != "" || all[0].Resent > 0)
	}, 20*time.Second, 50*time.Millisecond)
	assert.Zero(t, s.resent(t))
	s.broker.loses.Store(false)
	background(t, s.outboxes["one"].Relay)
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
	s.complete(t)
	assert.EqualValues(t, 1, s.resent(t))
}

// TestBacklogIsNoLoss: a group that works off what has waited for it is not compared before it is through.
func TestBacklogIsNoLoss(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	for i := range 40 {
		s.publish(t, "one", event(fmt.Sprint("x", i), "a"))
	}
	s.settled(t, "one")
	_, err := s.publishers["one"].ExecContext(t.Context(), "UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 1 MINUTE")
	require.NoError(t, err)
	time.Sleep(s.times.After) // the events are older than that
	background(t, func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.db, mq.Subscription{Group: "slow", Topic: topic, Workers: 1}, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			time.Sleep(100 * time.Millisecond)
			return mqlaws.Effect("slow")(ctx, tx, e)
		})
	})
	s.audit(t)
	s.complete(t)
	mqlaws.AwaitCount(t, s.db, 40, "SELECT COUNT(*) FROM effect")
	assert.Zero(t, s.resent(t))
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.publishers["one"], "SELECT COUNT(*) FROM mq_outbox WHERE tries > 1"))
}

// TestFollowerRestored: a group whose database was put back to an older state gets what it had since then once more, though that had been found
// complete, and is older than what is compared each time.
func TestFollowerRestored(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	for i := range 10 {
		e := event(fmt.Sprint("x", i), "a")
		e.ID = madeAt(time.Now().Add(-2 * time.Hour))
		s.publish(t, "one", e)
	}
	mqlaws.AwaitCount(t, s.db, 10, "SELECT COUNT(*) FROM effect")
	s.audit(t)
	s.complete(t)
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_audit SET wanted_at = NOW(3) - INTERVAL 1 DAY")
	require.NoError(t, err)
	s.complete(t)
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT events FROM mq_audit"), "what is older is not compared each time")
	for _, stmt := range []string{"DELETE FROM effect WHERE subject > 'x4'", "DELETE FROM mq_inbox WHERE subject > 'x4'"} {
		_, err := s.db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	mqlaws.AwaitCount(t, s.db, 10, "SELECT COUNT(*) FROM effect")
	assert.EqualValues(t, 5, s.resent(t))
}

// madeAt returns an id as NewID would at at.
func madeAt(at time.Time) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x%s", ms>>16, ms&0xffff, mq.NewID()[13:])
}

// TestTurns: of two instances of a service one compares at a time.
func TestTurns(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.times.Every = time.Second
	s.consume(t, mq.Subscription{Group: "all"})
	var calls atomic.Int64
	s.clients["one"] = counting{s.clients["one"], &calls}
	time.Sleep(s.times.After)
	began := time.Now()
	for range 4 {
		s.audit(t)
	}
	s.complete(t)
	s.complete(t)
	assert.LessOrEqual(t, float64(calls.Load()), 2*(2+time.Since(began).Seconds()/0.9), "two a turn: what is new, and a part of the rest")
}

type counting struct {
	mqv1.SentClient
	calls *atomic.Int64
}

func (c counting) SumSent(ctx context.Context, req *mqv1.SumSentRequest, opts ...grpc.CallOption) (*mqv1.SumSentReply, error) {
	c.calls.Add(1)
	return c.SentClient.SumSent(ctx, req, opts...)
}

// TestOnlyServices: every call needs the key of the events, for that method and that request.
func TestOnlyServices(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	stranger, err := mac.Parse("test:ffeeddccbbaa99887766554433221100")
	require.NoError(t, err)
	sent := s.clients["one"]
	w := &mqv1.Wanted{CallId: "1", Topic: topic, Settled: durationpb.New(time.Second)}
	sum, list, again := &mqv1.SumSentRequest{Wanted: w}, &mqv1.ListSentRequest{Wanted: w}, &mqv1.SendAgainRequest{CallId: "1", Ids: []string{"1"}, Settled: durationpb.New(time.Second)}
	for method, call := range map[string]func(context.Context) error{
		mqv1.Sent_SumSent_FullMethodName:   func(ctx context.Context) error { _, err := sent.SumSent(ctx, sum); return err },
		mqv1.Sent_ListSent_FullMethodName:  func(ctx context.Context) error { _, err := sent.ListSent(ctx, list); return err },
		mqv1.Sent_SendAgain_FullMethodName: func(ctx context.Context) error { _, err := sent.SendAgain(ctx, again); return err },
	} {
		req := map[string]proto.Message{mqv1.Sent_SumSent_FullMethodName: sum, mqv1.Sent_ListSent_FullMethodName: list,
			mqv1.Sent_SendAgain_FullMethodName: again}[method]
		require.NoError(t, call(mqtest.Keys().Call(t.Context(), method, req)))
		for name, ctx := range map[string]context.Context{
			"unsigned":          t.Context(),
			"another key":       stranger.Call(t.Context(), method, req),
			"another method":    mqtest.Keys().Call(t.Context(), "/mq.v1.Sent/Other", req),
			"another request":   mqtest.Keys().Call(t.Context(), method, &mqv1.SendAgainRequest{CallId: "2", Ids: []string{"1"}}),
			"an empty metadata": mqtest.Keys().Call(t.Context(), "", nil),
		} {
			assert.Equal(t, 403, kerrors.Code(call(ctx)), "%s %s", method, name)
		}
	}
}

// TestRefusedHead: an event that the broker refuses, and those that wait for it, do not look like a broker that takes nothing.
func TestRefusedHead(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	s.audit(t)
	s.complete(t)
	s.stopRelay["one"]()
	s.publish(t, "one", event("bad", "a"), event("bad", "a"), event("lost", "a"))
	_, err := s.publishers["one"].ExecContext(t.Context(), `UPDATE mq_outbox SET refused_at = IF(id = 1, NOW(3), NULL),
		next_at = IF(id = 1, NOW(3) + INTERVAL 1 HOUR, NOW(3) - INTERVAL 1 MINUTE), state = IF(subject = 'lost', 'SENT', 'READY'),
		closed_at = IF(subject = 'lost', NOW(3), NULL)`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.resent(t) == 1 }, 20*time.Second, 50*time.Millisecond)
}

// TestToldUntilItComes: while an event does not come, however often it is sent again, the comparison is not complete and the alert lasts.
func TestToldUntilItComes(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	s.audit(t)
	s.complete(t)
	s.broker.loses.Store(true)
	s.publish(t, "one", event("lost", "a"))
	require.Eventually(t, func() bool { return s.resent(t) == 1 }, 20*time.Second, 20*time.Millisecond)
	was, err := audit.Results(t.Context(), s.db)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s.alerts.mu.Lock()
		defer s.alerts.mu.Unlock()
		require.Len(t, s.alerts.last, 1)
		return s.resent(t) == 4
	}, 30*time.Second, 10*time.Millisecond)
	is, err := audit.Results(t.Context(), s.db)
	require.NoError(t, err)
	assert.Equal(t, was[0].CompleteAt, is[0].CompleteAt)
	s.broker.loses.Store(false)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	s.complete(t)
	assert.Empty(t, s.alerts.last)
}

// TestNewType: a group that begins to want another type does not get those that were sent before.
func TestNewType(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	stop := s.consume(t, mq.Subscription{Group: "some", Types: []string{"a"}})
	audited := s.audit(t)
	s.broker.loses.Store(true) // as if the group's place had passed them
	s.publish(t, "one", event("x", "b"))
	s.settled(t, "one")
	s.broker.loses.Store(false)
	s.complete(t)
	stop()
	audited()
	s.consume(t, mq.Subscription{Group: "some", Types: []string{"b", "a"}})
	s.audit(t)
	s.publish(t, "one", event("y", "b"))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	time.Sleep(s.times.After) // until the first one would count
	s.complete(t)
	s.complete(t)
	assert.Zero(t, s.resent(t))
	assert.Empty(t, s.alerts.ever)
}

// narrow is a publisher that cannot add up what is older than a minute in the time of a call.
type narrow struct{ mqv1.SentClient }

func (n narrow) SumSent(ctx context.Context, req *mqv1.SumSentRequest, opts ...grpc.CallOption) (*mqv1.SumSentReply, error) {
	if req.GetWanted().GetTo() != "" {
		return nil, context.DeadlineExceeded
	}
	return n.SentClient.SumSent(ctx, req, opts...)
}

// TestReviewFails: when all that is kept cannot be compared, what is sent is compared nevertheless; and operators are told when neither can be.
func TestReviewFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.clients["one"] = narrow{s.clients["one"]}
	s.consume(t, mq.Subscription{Group: "all"})
	stop := s.audit(t)
	s.complete(t)
	s.broker.loses.Store(true)
	s.publish(t, "one", event("lost", "a"))
	s.settled(t, "one")
	s.broker.loses.Store(false)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	s.complete(t)
	stop()
	s.clients["one"] = audit.NewServer(mac.Keys{}, s.publishers["one"], s.outboxes["one"]).Local() // it believes nobody
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_audit SET wanted_at = NOW(3) - INTERVAL 1 DAY, complete_at = NOW(3) - INTERVAL 16 MINUTE")
	require.NoError(t, err)
	s.audit(t)
	require.Eventually(t, func() bool {
		s.alerts.mu.Lock()
		defer s.alerts.mu.Unlock()
		return strings.Contains(s.alerts.last["messages-lost/all/one"], "cannot be compared")
	}, 20*time.Second, 50*time.Millisecond)
}

// TestForgedOnce: an event whose key a group does not know is one letter, however often it is sent; when the key is known, it has its effect.
func TestForgedOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	stranger, err := mac.Parse("k9:ffeeddccbbaa99887766554433221100")
	require.NoError(t, err)
	bus := mq.NewBus("follower", s.broker, mq.Config{Keys: stranger})
	stop := background(t, func(ctx context.Context) error {
		return bus.Consume(ctx, s.db, mq.Subscription{Group: "all", Topic: topic}, mqlaws.Effect("all"))
	})
	audited := background(t, audit.New(s.db, bus, mqtest.Keys(), s.clients, s.alerts, s.times).Run)
	e := event("x", "a")
	s.publish(t, "one", e)
	require.Eventually(t, func() bool { return s.resent(t) == 3 }, 30*time.Second, 20*time.Millisecond)
	assert.Equal(t, "DEAD ?\n--\n", mysqltest.Dump(t, s.db, "SELECT state, type FROM mq_inbox"))
	audited()
	stop()
	s.consume(t, mq.Subscription{Group: "all"})
	s.audit(t)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	n, err := mq.NewDeadLetters(s.db, s.bus.Order).DiscardUnreadable(t.Context(), "all")
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
}
