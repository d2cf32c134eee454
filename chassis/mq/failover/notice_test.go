package failover_test

import (
	"context"
	"testing"
	"time"

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
	assert.Empty(t, p.again, "nothing ever went by Redis")
	assert.EqualValues(t, 1, p.state(t).Epoch)
	p.traffic(t)
	p.await(t, redis.Degraded, 8*time.Second)
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
