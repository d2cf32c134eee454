package failover_test

import (
	"context"
	"math"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/failover/failovertest"
	"example.com/fourfold/chassis/mq/redis"
)

// TestRedisAway: without Redis events go by the broker as ever, and a broker that is away then keeps them in the outboxes; a Redis that returns
// is used again.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.process(t, "a", func(cfg *failover.Config) { cfg.Canary = 1 }) // everything goes by Redis too
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	h.redis.Stop()
	require.NoError(t, a.send(t, "x", 3))
	a.Link.State.Store(failovertest.Refuses)
	for range 30 {
		require.ErrorIs(t, a.send(t, "x", 4), mq.ErrUnavailable)
	}
	h.redis.Restart(t)
	a.await(t, redis.Degraded, 10*time.Second)
	require.Eventually(t, func() bool { return a.send(t, "x", 5) == nil }, 5*time.Second, 20*time.Millisecond)
	h.redis.Stop()
	a.Link.State.Store(failovertest.Works)
	require.Eventually(t, func() bool { return a.send(t, "x", 6) == nil }, 5*time.Second, 20*time.Millisecond, "by the broker, which has come back first")
}

// TestEmptied: a Redis that has lost what it held is told to who sends it again, by every process; the mode is what it was, in a later epoch.
func TestEmptied(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.process(t, "a"), h.process(t, "b")
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	require.NoError(t, b.send(t, "x", 2)) // by now it knows
	before := a.state(t)
	for len(b.again) > 0 {
		<-b.again // what the broker took just before
	}
	rdb := goredis.NewClient(&goredis.Options{Addr: h.redis.Addr})
	defer func() { _ = rdb.Close() }()
	require.NoError(t, rdb.FlushAll(t.Context()).Err())
	select {
	case since := <-b.again:
		assert.WithinDuration(t, before.Since, since, time.Second)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	after := a.state(t)
	assert.Equal(t, redis.Degraded, after.Mode)
	assert.Greater(t, after.Epoch, before.Epoch)
	assert.NotEqual(t, before.Store, after.Store)
	require.Eventually(t, func() bool { return a.send(t, "x", 3) == nil && b.send(t, "x", 3) == nil }, 5*time.Second, 20*time.Millisecond)
}

// TestHalves: there are half messages in NORMAL only.
func TestHalves(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a")
	h := a.Transactions(nil)
	local := func() mq.Verdict { return mq.Commit }
	require.NoError(t, h.Half(t.Context(), "things", event("x", 0), time.Now(), local))
	a.Link.State.Store(failovertest.Refuses)
	require.ErrorIs(t, h.Half(t.Context(), "things", event("x", 0), time.Now(), local), mq.ErrUnavailable)
	a.await(t, redis.Degraded, 5*time.Second)
	a.Link.State.Store(failovertest.Works)
	require.ErrorIs(t, h.Half(t.Context(), "things", event("x", 0), time.Now(), func() mq.Verdict {
		t.Error("there was a half message")
		return mq.Rollback
	}), mq.ErrUnavailable)
}

// TestLater: what is due later is not sent by Redis: the outbox keeps it, and the database's sweep wakes timers.
func TestLater(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a")
	require.NoError(t, a.Send(t.Context(), "things", event("x", 0), time.Now().Add(time.Hour)))
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	require.ErrorIs(t, a.Send(t.Context(), "things", event("x", 0), time.Now().Add(time.Hour)), mq.ErrHeld)
	require.NoError(t, a.Send(t.Context(), "things", event("x", 0), time.Now().Add(-time.Second)))
}

// TestForced: an operator holds events away from the broker, or away from Redis, until the switch is left to itself.
func TestForced(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a")
	a.listen(t, "readers")
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	require.NoError(t, a.Force(t.Context(), redis.Held, "ann", "the broker is to be replaced"))
	a.await(t, redis.Degraded, 2*time.Second)
	assert.Equal(t, "ann", a.state(t).By)
	time.Sleep(2 * time.Second) // longer than it takes to return
	assert.Equal(t, redis.Degraded, a.state(t).Mode)
	require.NoError(t, a.Force(t.Context(), redis.Pinned, "ann", "Redis is to be replaced"))
	a.await(t, redis.Normal, 10*time.Second)
	a.Link.State.Store(failovertest.Refuses)
	for range 30 {
		require.ErrorIs(t, a.send(t, "x", 2), mq.ErrUnavailable)
		time.Sleep(30 * time.Millisecond)
	}
	assert.Equal(t, redis.Normal, a.state(t).Mode)
	require.NoError(t, a.Force(t.Context(), redis.Automatic, "ann", "done"))
	a.traffic(t)
	a.await(t, redis.Degraded, 5*time.Second)
}

// TestUndisturbed: since when events go the usual way again.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a")
	assert.EqualValues(t, math.MaxInt64, a.Undisturbed())
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	require.Eventually(t, func() bool { return a.Undisturbed() < time.Minute }, 2*time.Second, 10*time.Millisecond)
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	require.Eventually(t, func() bool { return a.Undisturbed() == 0 }, 2*time.Second, 10*time.Millisecond)
}

// TestTail: who looks on sees what goes either way, and no probe.
func TestTail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.process(t, "a"), h.process(t, "b")
	seen := make(chan mq.Event, 10000)
	background(t, func(ctx context.Context) error {
		return mq.NewBus("b", b, mq.Config{}).Tail(ctx, mq.View{Topic: "things"}, func(_ context.Context, e mq.Event) { seen <- e })
	})
	both, ofBoth := event("both ways", 1), 0
	awaitSeen := func(subject string) {
		t.Helper()
		require.Eventually(t, func() bool {
			require.NoError(t, a.send(t, subject, 1))
			for {
				select {
				case e := <-seen:
					require.Equal(t, "thing.happened", e.Type)
					if e.ID == both.ID {
						ofBoth++
					}
					if e.Subject == subject {
						return true
					}
				case <-time.After(50 * time.Millisecond):
					return false
				}
			}
		}, 10*time.Second, time.Millisecond)
	}
	awaitSeen("by the broker")
	require.NoError(t, a.Queues.Send(t.Context(), "things", both, time.Time{}))
	require.NoError(t, a.Link.Send(t.Context(), "things", both, time.Time{}))
	awaitSeen("after both ways")
	assert.Equal(t, 1, ofBoth)
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	awaitSeen("by Redis")
}

// TestMayBeLost: what may be lost never goes by Redis.
func TestMayBeLost(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a", func(cfg *failover.Config) { cfg.Canary = 1 })
	bus := mq.NewBus("a", a, mq.Config{})
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	inQueues := func() int64 {
		b, err := a.Queues.Backlog(t.Context())
		require.NoError(t, err)
		return b.Entries
	}
	before := inQueues()
	require.NoError(t, bus.Publish(t.Context(), "things", event("log", 0)))
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	require.ErrorIs(t, bus.Publish(t.Context(), "things", event("log", 0)), mq.ErrUnavailable)
	assert.Equal(t, before, inQueues())
}

// TestHandoverWithoutRedis: Redis dies in a hand-over, for which the broker is known to work: events go by that, and do not wait for Redis.
func TestHandoverWithoutRedis(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.process(t, "a")
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	_, err := a.Queues.Change(t.Context(), a.state(t), redis.Change{By: "nobody", To: redis.Handover, Lease: time.Hour})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return a.Undisturbed() == 0 }, 2*time.Second, time.Millisecond)
	h.redis.Stop()
	require.Eventually(t, func() bool { return a.send(t, "x", 2) == nil }, 5*time.Second, 10*time.Millisecond)
	start := time.Now()
	require.NoError(t, a.send(t, "x", 3))
	assert.Less(t, time.Since(start), time.Second)
}

// TestOlderState: a Redis that comes back with what it held some time ago is believed, and what was sent meanwhile is sent again.
func TestOlderState(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.process(t, "a")
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	rdb := goredis.NewClient(&goredis.Options{Addr: h.redis.Addr})
	defer func() { _ = rdb.Close() }()
	older, err := rdb.Dump(t.Context(), h.prefix+":switch").Result()
	require.NoError(t, err)
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	require.NoError(t, a.send(t, "x", 2))
	for len(a.again) > 0 {
		<-a.again
	}
	require.NoError(t, rdb.RestoreReplace(t.Context(), h.prefix+":switch", 0, older).Err())
	select {
	case <-a.again:
	case <-time.After(5 * time.Second):
		t.Error("what went by Redis is not sent again")
	}
	a.await(t, redis.Degraded, 10*time.Second) // it finds out anew
	require.NoError(t, a.send(t, "x", 3))
}

// TestHalvesNotice: a frozen broker is noticed as soon when nothing but half messages is sent.
func TestHalvesNotice(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a", func(cfg *failover.Config) { *cfg = failover.Config{Idle: time.Hour} })
	h := a.Transactions(nil)
	half := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // as the outbox does
		defer cancel()
		return h.Half(ctx, "things", event("x", 0), time.Now(), func() mq.Verdict { return mq.Commit })
	}
	require.NoError(t, half())
	a.await(t, redis.Normal, 5*time.Second)
	a.Link.State.Store(failovertest.Hangs)
	began := time.Now()
	require.ErrorIs(t, half(), mq.ErrUnavailable)
	a.await(t, redis.Degraded, 8*time.Second)
	assert.Less(t, time.Since(began), 5*time.Second)
}
