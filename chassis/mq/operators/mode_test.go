package operators_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover/failovertest"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/operators"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/redistest"
)

// switched returns notify's server, and its process, which moves the switch only when it is told to.
func switched(t *testing.T, r *redistest.Server) (*operators.Server, *failovertest.Process) {
	t.Helper()
	p := failovertest.New(t, "notify", memory.New(), r.Addr, mq.NewID(), failovertest.Quick())
	created, err := p.Queues.Create(t.Context(), redis.State{Mode: redis.Normal, Why: "the first start"}, "store")
	require.NoError(t, err)
	require.True(t, created)
	return operators.NewServer("notify", nil, mq.NewBus("notify", mqtest.Away{}, mq.Config{}), nil, p.Transport, mq.MinKeep), p
}

// move makes c of the switch as it is.
func move(t *testing.T, p *failovertest.Process, c redis.Change) {
	t.Helper()
	s, err := p.Look(t.Context())
	require.NoError(t, err)
	done, err := p.Queues.Change(t.Context(), s, c)
	require.NoError(t, err)
	require.True(t, done)
}

func ann(t *testing.T) context.Context {
	return identity.NewContext(t.Context(), identity.Caller{MemberID: "m-ann", Role: accessv1.Operator})
}

// TestGetMode: operators see which way events go, why, who leads back, what lies where and for whom, and what happened.
func TestGetMode(t *testing.T) {
	t.Parallel()
	s, p := switched(t, redistest.Start(t))
	get := func() *mqv1.ModeReply {
		t.Helper()
		m, err := s.GetMode(t.Context(), &mqv1.GetModeRequest{})
		require.NoError(t, err)
		return m
	}
	m := get()
	assert.Equal(t, "NORMAL 1 the first start AUTOMATIC true notify 0", fmt.Sprint(m.GetMode(), " ", m.GetEpoch(), " ", m.GetWhy(), " ",
		m.GetForce(), " ", m.GetRedisAnswered(), " ", m.GetService(), " ", m.GetEntries()))
	assert.WithinDuration(t, time.Now(), m.GetSince().AsTime(), 10*time.Second)
	assert.WithinDuration(t, time.Now(), m.GetAsOf().AsTime(), 10*time.Second)
	assert.Nil(t, m.GetOldestAt())
	assert.Nil(t, m.GetLeaseUntil())
	assert.Empty(t, m.GetQueues())
	assert.Empty(t, m.GetChanges())

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- p.Queues.Listen(ctx, mq.Subscription{Group: "g", Topic: "things", Workers: 1}, func(mq.Delivery) bool {
			<-ctx.Done()
			return false
		})
	}()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	require.Eventually(t, func() bool { return len(get().GetGroups()) == 1 }, 20*time.Second, 10*time.Millisecond)
	topic := "things"
	move(t, p, redis.Change{By: "order-1-abc", To: redis.Degraded, Why: "10 sends in a row failed: by time-out",
		Lease: time.Minute, Topic: &topic})
	state, err := p.Look(t.Context())
	require.NoError(t, err)
	for n, subject := range []string{"a", "a", "b"} {
		require.NoError(t, p.Queues.SendIn(t.Context(), state.Epoch, topic, mq.Event{ID: fmt.Sprint("e", n), Source: "/order", Type: "t",
			Subject: subject, Time: time.Now()}, time.Time{}))
	}
	m = get()
	assert.Equal(t, "DEGRADED 2 10 sends in a row failed: by time-out|order-1-abc|order-1-abc",
		fmt.Sprint(m.GetMode(), " ", m.GetEpoch(), " ", m.GetWhy(), "|", m.GetBy(), "|", m.GetOpener()))
	assert.WithinDuration(t, time.Now().Add(time.Minute), m.GetLeaseUntil().AsTime(), 10*time.Second)
	assert.EqualValues(t, 3, m.GetEntries())
	assert.WithinDuration(t, time.Now(), m.GetOldestAt().AsTime(), 10*time.Second)
	require.Len(t, m.GetQueues(), 2)
	var all int64
	for _, q := range m.GetQueues() {
		all += q.GetEntries()
		assert.False(t, q.GetOldestAt().AsTime().Before(m.GetOldestAt().AsTime()))
	}
	assert.EqualValues(t, 3, all)
	require.Len(t, m.GetGroups(), 1)
	assert.Equal(t, "g 3 1", fmt.Sprint(m.GetGroups()[0].GetGroup(), " ", m.GetGroups()[0].GetEntries(), " ", m.GetGroups()[0].GetInstances()))

	move(t, p, redis.Change{By: "order-1-abc", To: redis.Draining, Why: "the broker takes events again"})
	move(t, p, redis.Change{By: "order-1-abc", To: redis.Handover, Why: "0 events"})
	m = get()
	assert.Equal(t, "DRAINING", m.GetMode(), "the hand-over is the end of it")
	var said []string
	for _, c := range m.GetChanges() {
		said = append(said, fmt.Sprint(c.GetFrom(), " ", c.GetTo(), " by ", c.GetBy(), ": ", c.GetWhy()))
		assert.WithinDuration(t, time.Now(), c.GetAt().AsTime(), 10*time.Second)
	}
	assert.Equal(t, []string{"DEGRADED DRAINING by order-1-abc: the broker takes events again",
		"NORMAL DEGRADED by order-1-abc: 10 sends in a row failed: by time-out"}, said)
}

// TestGetModeRedisAway: while Redis is away operators see what the process knows, and that it is old.
func TestGetModeRedisAway(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	s, p := switched(t, r)
	r.Freeze(t)
	m, err := s.GetMode(t.Context(), &mqv1.GetModeRequest{})
	require.NoError(t, err)
	assert.Equal(t, " 0 false", fmt.Sprint(m.GetMode(), " ", m.GetEpoch(), " ", m.GetRedisAnswered()), "it never heard of Redis")
	assert.Nil(t, m.GetSince())
	assert.Nil(t, m.GetAsOf())
	r.Thaw(t)
	require.Eventually(t, func() bool { _, err := p.Look(t.Context()); return err == nil }, 10*time.Second, 10*time.Millisecond)
	_, err = s.ForceMode(ann(t), &mqv1.ForceModeRequest{Mode: mqv1.Force_DEGRADED, Reason: "the rack moves"})
	require.NoError(t, err)
	r.Freeze(t)
	began := time.Now()
	m, err = s.GetMode(t.Context(), &mqv1.GetModeRequest{})
	require.NoError(t, err)
	assert.Less(t, time.Since(began), 2*time.Second, "the gateway waits no longer")
	assert.Equal(t, "DEGRADED DEGRADED m-ann the rack moves false",
		fmt.Sprint(m.GetMode(), " ", m.GetForce(), " ", m.GetBy(), " ", m.GetWhy(), " ", m.GetRedisAnswered()))
	assert.WithinDuration(t, time.Now(), m.GetAsOf().AsTime(), 20*time.Second)
	_, err = s.ForceMode(ann(t), &mqv1.ForceModeRequest{Mode: mqv1.Force_AUTOMATIC, Reason: "it is over"})
	assert.Equal(t, "503 TRY_LATER 2",
		fmt.Sprint(kerrors.Code(err), " ", kerrors.Reason(err), " ", kerrors.FromError(err).Metadata["retry_after"]))
	assert.NotContains(t, kerrors.FromError(err).Message, "127.0.0.1")
}

// TestForceMode: what an operator wants has its effect, and is remembered with who and why; again, it is as it was.
func TestForceMode(t *testing.T) {
	t.Parallel()
	s, p := switched(t, redistest.Start(t))
	force := func(mode mqv1.Force, reason string) *mqv1.ModeReply {
		t.Helper()
		m, err := s.ForceMode(ann(t), &mqv1.ForceModeRequest{Mode: mode, Reason: reason})
		require.NoError(t, err)
		return m
	}
	for n := range 2 {
		m := force(mqv1.Force_DEGRADED, "the rack: moves\nat noon")
		assert.Equal(t, "DEGRADED DEGRADED 2 m-ann", fmt.Sprint(m.GetMode(), " ", m.GetForce(), " ", m.GetEpoch(), " ", m.GetBy()))
		assert.Len(t, m.GetChanges(), n+1)
		assert.Equal(t, "m-ann the rack: moves\nat noon", m.GetChanges()[0].GetBy()+" "+m.GetChanges()[0].GetWhy())
	}
	m := force(mqv1.Force_AUTOMATIC, "done")
	assert.Equal(t, "DEGRADED AUTOMATIC 2", fmt.Sprint(m.GetMode(), " ", m.GetForce(), " ", m.GetEpoch()), "the services lead back")
	c := m.GetChanges()[0]
	assert.Equal(t, "DEGRADED DEGRADED AUTOMATIC m-ann done",
		fmt.Sprint(c.GetFrom(), " ", c.GetTo(), " ", c.GetForce(), " ", c.GetBy(), " ", c.GetWhy()))
	m = force(mqv1.Force_NORMAL, strings.Repeat("é", 500))
	assert.Equal(t, "NORMAL", m.GetForce().String())
	state, err := p.Look(t.Context())
	require.NoError(t, err)
	assert.Equal(t, redis.Pinned, state.Force)
}
