package audit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

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
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_audit")
	s.publish(t, "one", event("x", "a"))
	require.Eventually(t, func() bool { return s.resent(t) >= 2 }, 60*time.Second, 20*time.Millisecond)
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
