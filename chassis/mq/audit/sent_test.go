package audit_test

import (
	"context"
	"database/sql"
	"fmt"
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
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

// TestTurns: of two instances of a service one compares at a time.
func TestTurns(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.times.Every = time.Second
	s.consume(t, mq.Subscription{Group: "all"})
	var calls, lists atomic.Int64
	s.clients["one"] = counting{s.clients["one"], &calls, &lists}
	time.Sleep(s.times.After)
	began := time.Now()
	for range 4 {
		s.audit(t)
	}
	s.complete(t)
	s.complete(t)
	assert.LessOrEqual(t, float64(calls.Load()), 2*(2+time.Since(began).Seconds()/0.9), "two a turn: what is new, and a part of the rest")
}

// counting counts the calls.
type counting struct {
	mqv1.SentClient
	sums, lists *atomic.Int64
}

func (c counting) SumSent(ctx context.Context, req *mqv1.SumSentRequest, opts ...grpc.CallOption) (*mqv1.SumSentReply, error) {
	c.sums.Add(1)
	return c.SentClient.SumSent(ctx, req, opts...)
}

func (c counting) ListSent(ctx context.Context, req *mqv1.ListSentRequest, opts ...grpc.CallOption) (*mqv1.ListSentReply, error) {
	c.lists.Add(1)
	return c.SentClient.ListSent(ctx, req, opts...)
}

// TestSums: where all has come the sums say so, for every kind of group and for each publisher, and no ids are listed. Where one of many is
// missing, its window is listed to the end, by pages.
func TestSums(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one", "two")
	var sums, lists atomic.Int64
	for name, client := range s.clients {
		s.clients[name] = counting{client, &sums, &lists}
	}
	s.consume(t, mq.Subscription{Group: "all"})
	s.consume(t, mq.Subscription{Group: "some", Types: []string{"a"}})
	s.consume(t, mq.Subscription{Group: "filtered", Filter: "region = 'x'"})
	at := time.Now().Add(-time.Minute)
	ids := madeAt(at)[:14] // of one window
	for _, publisher := range []string{"one", "two"} {
		for i := range 10 {
			e, other := event(fmt.Sprint("x", i), "a"), event(fmt.Sprint("y", i), "b")
			e.ID, other.ID = madeAt(at), madeAt(at)
			s.publish(t, publisher, e, other)
		}
		s.settled(t, publisher)
		_, err := s.publishers[publisher].ExecContext(t.Context(), "UPDATE mq_outbox SET closed_at = closed_at - INTERVAL 1 MINUTE")
		require.NoError(t, err)
	}
	mqlaws.AwaitCount(t, s.db, 40+20+20, "SELECT COUNT(*) FROM effect")
	stop := s.audit(t)
	s.complete(t)
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_audit SET wanted_at = NOW(3) - INTERVAL 1 HOUR, complete_at = NULL")
	require.NoError(t, err)
	s.complete(t)
	assert.Equal(t, "10\n10\n20\n--\n", mysqltest.Dump(t, s.db, "SELECT events FROM mq_audit WHERE publisher = 'one' ORDER BY events"))
	assert.NotZero(t, sums.Load())
	assert.Zero(t, lists.Load())

	stop()
	for db, stmt := range map[*sql.DB]string{
		s.publishers["one"]: `INSERT INTO mq_outbox (event_id, topic, subject, type, event, state, closed_at)
			SELECT CONCAT(?, LPAD(seq, 8, '0')), 'things', '', 'c', '{}', 'SENT', NOW(3) - INTERVAL 1 MINUTE FROM seq_1_to_2500`,
		s.db: `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, created_at, closed_at)
			SELECT 'all', '/one', CONCAT(?, LPAD(seq, 8, '0')), 'things', 'c', '', 0, 'DONE', NOW(3) - INTERVAL 1 MINUTE,
			NOW(3) - INTERVAL 1 MINUTE FROM seq_1_to_2500`,
	} {
		_, err := db.ExecContext(t.Context(), stmt, ids)
		require.NoError(t, err)
	}
	s.broker.loses.Store(true)
	last := event("z", "c") // only group all wants it
	last.ID = ids + "zzzz"
	s.publish(t, "one", last)
	s.settled(t, "one")
	s.broker.loses.Store(false)
	_, err = s.publishers["one"].ExecContext(t.Context(), "UPDATE mq_outbox SET closed_at = closed_at - INTERVAL 1 MINUTE WHERE subject = 'z'")
	require.NoError(t, err)
	s.audit(t)
	s.complete(t)
	require.NotZero(t, s.resent(t))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE subject = 'z'")
}

// TestOnlyServices: every call needs the key of the events, for that method and that request.
func TestOnlyServices(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	stranger, err := mac.Parse("test:ffeeddccbbaa99887766554433221100")
	require.NoError(t, err)
	sent := s.clients["one"]
	w := &mqv1.Wanted{CallId: "1", Topic: topic, Settled: durationpb.New(time.Second)}
	sum, list := &mqv1.SumSentRequest{Wanted: w}, &mqv1.ListSentRequest{Wanted: w}
	again := &mqv1.SendAgainRequest{CallId: "1", Ids: []string{"1"}, Settled: durationpb.New(time.Second)}
	numbers := &mqv1.SendNumbersRequest{CallId: "1", Topic: topic, Source: "/one", Subject: "x", First: 1, Last: 1}
	for method, call := range map[string]func(context.Context) error{
		mqv1.Sent_SendNumbers_FullMethodName: func(ctx context.Context) error { _, err := sent.SendNumbers(ctx, numbers); return err },
		mqv1.Sent_SumSent_FullMethodName:     func(ctx context.Context) error { _, err := sent.SumSent(ctx, sum); return err },
		mqv1.Sent_ListSent_FullMethodName:    func(ctx context.Context) error { _, err := sent.ListSent(ctx, list); return err },
		mqv1.Sent_SendAgain_FullMethodName:   func(ctx context.Context) error { _, err := sent.SendAgain(ctx, again); return err },
	} {
		req := map[string]proto.Message{mqv1.Sent_SumSent_FullMethodName: sum, mqv1.Sent_ListSent_FullMethodName: list,
			mqv1.Sent_SendAgain_FullMethodName: again, mqv1.Sent_SendNumbers_FullMethodName: numbers}[method]
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
