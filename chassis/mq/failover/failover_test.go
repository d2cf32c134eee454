package failover_test

import (
	"context"
	"math"
	"strings"
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

// TestNotice: a broker that refuses, and one that does not answer, is noticed in seconds by who sends, with the settings that services have; and
// by who does not.
func TestNotice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state   int32
		sends   bool
		longest time.Duration
	}{
		"killed": {failovertest.Refuses, true, 3 * time.Second}, "frozen": {failovertest.Hangs, true, 3 * time.Second},
		"frozen and idle": {failovertest.Hangs, false, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newHouse(t).process(t, "a", func(cfg *failover.Config) { *cfg = failover.Config{} })
			require.NoError(t, p.send(t, "x", 1))
			p.await(t, redis.Normal, 5*time.Second)
			p.Link.State.Store(c.state)
			if c.sends {
				p.traffic(t)
			}
			took := p.await(t, redis.Degraded, c.longest)
			t.Logf("noticed after %s", took)
			s := p.state(t)
			assert.Contains(t, s.Why, "sends in a row failed")
			assert.Contains(t, s.Opener, "a-")
			assert.Eventually(t, func() bool { return p.send(t, "x", 2) == nil }, time.Second, 10*time.Millisecond, "it goes by Redis")
		})
	}
}

// TestNoFalseAlarm: what does not say that the broker is away does not open the switch, however often it fails.
func TestNoFalseAlarm(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]func(t *testing.T, p *process){
		"events that are refused": func(t *testing.T, p *process) {
			p.Link.State.Store(failovertest.Invalid)
			for range 50 {
				require.ErrorIs(t, p.send(t, "x", 1), mq.ErrRefused)
				time.Sleep(10 * time.Millisecond)
			}
		},
		"a topic that no name server knows": func(t *testing.T, p *process) {
			p.Link.State.Store(failovertest.NoRoute)
			for range 50 {
				require.ErrorIs(t, p.send(t, "x", 1), mq.ErrUnavailable)
				time.Sleep(10 * time.Millisecond)
			}
		},
		"nine in a row, again and again": func(t *testing.T, p *process) {
			for range 10 {
				p.Link.State.Store(failovertest.Refuses)
				for range 9 {
					require.ErrorIs(t, p.send(t, "x", 1), mq.ErrUnavailable)
				}
				p.Link.State.Store(failovertest.Works)
				require.NoError(t, p.send(t, "x", 1))
			}
		},
		"a burst": func(t *testing.T, p *process) {
			p.Link.State.Store(failovertest.Refuses)
			for range 100 {
				require.ErrorIs(t, p.send(t, "x", 1), mq.ErrUnavailable)
			}
			p.Link.State.Store(failovertest.Works)
			time.Sleep(500 * time.Millisecond)
		},
		"callers that give up": func(t *testing.T, p *process) {
			p.Link.State.Store(failovertest.Hangs)
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				require.ErrorIs(t, p.Send(ctx, "things", event("x", 1), time.Time{}), mq.ErrUnavailable)
				cancel()
			}
			p.Link.State.Store(failovertest.Works)
			time.Sleep(500 * time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newHouse(t).process(t, "a", func(cfg *failover.Config) { cfg.Idle = time.Hour })
			require.NoError(t, p.send(t, "x", 1))
			p.await(t, redis.Normal, 5*time.Second)
			fails(t, p)
			assert.EqualValues(t, 1, p.state(t).Epoch)
		})
	}
}

// TestSlowIsNotAway: a broker that takes longer than a send may, but takes events, is not away at once; but when it stays so slow, it is.
func TestSlowIsNotAway(t *testing.T) {
	t.Parallel()
	p := newHouse(t).process(t, "a")
	require.NoError(t, p.send(t, "x", 1))
	p.await(t, redis.Normal, 5*time.Second)
	p.Link.State.Store(failovertest.Slow)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		_ = p.send(t, "x", 1)
	}
	assert.Greater(t, p.Link.Tries.Load(), int64(20))
	assert.EqualValues(t, 1, p.state(t).Epoch)
	p.traffic(t)
	p.await(t, redis.Degraded, 8*time.Second)
}

// TestThereAndBack: while the broker is away events go by Redis, and when it is back they go by it again, by themselves; nothing is lost, and each
// subject's events come in their order.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.process(t, "a"), h.process(t, "b")
	got := b.listen(t, "readers")
	var want []int64
	n := int64(0)
	send := func(until func() bool) {
		for !until() {
			n++
			for a.send(t, "x", n) != nil {
				time.Sleep(10 * time.Millisecond)
			}
			want = append(want, n)
			time.Sleep(5 * time.Millisecond)
		}
	}
	after := func(d time.Duration) func() bool {
		end := time.Now().Add(d)
		return func() bool { return time.Now().After(end) }
	}
	send(after(300 * time.Millisecond))
	a.await(t, redis.Normal, time.Second)
	a.Link.State.Store(failovertest.Refuses)
	b.Link.State.Store(failovertest.Refuses)
	send(func() bool { return a.state(t).Mode == redis.Degraded })
	send(after(300 * time.Millisecond))
	byBroker := a.Link.Sends.Load()
	send(after(300 * time.Millisecond))
	assert.Equal(t, byBroker, a.Link.Sends.Load(), "everything goes by Redis")
	a.Link.State.Store(failovertest.Works)
	b.Link.State.Store(failovertest.Works)
	send(func() bool { return a.state(t).Mode == redis.Normal })
	byBroker = a.Link.Sends.Load()
	send(after(300 * time.Millisecond))
	assert.Greater(t, a.Link.Sends.Load(), byBroker)
	require.Eventually(t, func() bool { return len(got.of("x")) >= len(want) }, 20*time.Second, 10*time.Millisecond)
	assert.Equal(t, want, got.of("x"), "in order, across both changes")
	a.awaitEmpty(t)
	lines, err := a.Queues.History(t.Context())
	require.NoError(t, err)
	assert.Len(t, lines, 3, "%v", lines)
	for _, p := range []*process{a, b} {
		select {
		case since := <-p.again:
			assert.True(t, since.Before(time.Now()))
		case <-time.After(5 * time.Second):
			t.Error("what went by Redis is not sent again")
		}
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	assert.NotContains(t, got.types, "mq.probe")
}

// TestSleeper: a process that slept through a change of mode does not send the old way when it wakes.
func TestSleeper(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.process(t, "a")
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	s := h.idle(t, "sleeper", failovertest.Quick())
	require.NoError(t, s.send(t, "x", 2))
	a.Link.State.Store(failovertest.Works)
	a.listen(t, "readers")
	a.await(t, redis.Normal, 10*time.Second)
	// The sleeper's view is younger than a second or not: either way, Redis decides.
	require.NoError(t, s.send(t, "x", 3))
	assert.EqualValues(t, 1, s.Link.Sends.Load())
	a.awaitEmpty(t)
}

// TestCutOffAlone: one of two processes that is cut off from the broker has both go by Redis, and the mode does not flap though the other's probes
// would succeed; it returns when the first one's do, or when that is not heard of any more.
func TestCutOffAlone(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(a *process){
		"heals": func(a *process) { a.Link.State.Store(failovertest.Works) },
		"dies":  func(a *process) { a.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			a, b := h.process(t, "a"), h.process(t, "b")
			b.listen(t, "readers")
			b.traffic(t)
			require.NoError(t, a.send(t, "x", 1))
			a.await(t, redis.Normal, 5*time.Second)
			a.Link.State.Store(failovertest.Hangs)
			a.await(t, redis.Degraded, 5*time.Second)
			opened := a.state(t)
			time.Sleep(4 * time.Second) // several leases
			still := a.state(t)
			assert.Equal(t, opened.Epoch, still.Epoch, "%s: %s", still.Mode, still.Why)
			end(a)
			b.await(t, redis.Normal, 15*time.Second)
		})
	}
}

// TestQuietWhileAway: the broker is probed now and then while it is away, not as fast as that fails.
func TestQuietWhileAway(t *testing.T) {
	t.Parallel()
	a := newHouse(t).process(t, "a")
	require.NoError(t, a.send(t, "x", 1))
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	before := a.Link.Tries.Load()
	time.Sleep(2 * time.Second)
	assert.Less(t, a.Link.Tries.Load()-before, int64(10))
	assert.Greater(t, a.Link.Tries.Load(), before)
}

// TestFlapping: a broker that comes and goes is trusted later each time, so the mode changes seldom.
func TestFlapping(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.process(t, "a")
	a.listen(t, "readers")
	a.traffic(t)
	a.await(t, redis.Normal, 5*time.Second)
	for range 8 {
		a.Link.State.Store(failovertest.Refuses)
		time.Sleep(time.Second)
		a.Link.State.Store(failovertest.Works)
		time.Sleep(time.Second)
	}
	lines, err := a.Queues.History(t.Context())
	require.NoError(t, err)
	opened := 0
	for _, line := range lines {
		t.Log(line)
		if strings.Contains(line, "NORMAL -> ") {
			opened++
		}
	}
	assert.GreaterOrEqual(t, opened, 1)
	assert.LessOrEqual(t, opened, 3)
	a.await(t, redis.Normal, 20*time.Second)
}

// TestRedisAway: without Redis events go by the broker as ever, and a broker that is away then keeps them in the outboxes; a Redis that returns is
// used again.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.process(t, "a", func(cfg *failover.Config) { cfg.Canary = 1 }) // everything goes by Redis too
	require.NoError(t, a.send(t, "x", 1))
	a.await(t, redis.Normal, 5*time.Second)
	a.Link.State.Store(failovertest.Refuses)
	require.NoError(t, a.send(t, "x", 2), "it goes both ways")
	a.Link.State.Store(failovertest.Works)
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
		return b.Tail(ctx, "things", nil, func(_ context.Context, e mq.Event) { seen <- e })
	})
	awaitSeen := func(subject string) {
		t.Helper()
		require.Eventually(t, func() bool {
			require.NoError(t, a.send(t, subject, 1))
			for {
				select {
				case e := <-seen:
					require.Equal(t, "thing.happened", e.Type)
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
	a.Link.State.Store(failovertest.Refuses)
	a.await(t, redis.Degraded, 5*time.Second)
	awaitSeen("by Redis")
}
