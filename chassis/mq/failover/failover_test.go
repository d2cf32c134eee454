package failover_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/failover/failovertest"
	"example.com/fourfold/chassis/mq/redis"
)

// TestThereAndBack: while the broker is away events go by Redis, and when it is back they go by it again, by themselves; nothing is lost, and
// each subject's events come in their order.
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
	a.await(t, redis.Normal, 5*time.Second)
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

// TestCutOffAlone: one of two processes that is cut off from the broker has both go by Redis, and the mode does not flap though the other's
// probes would succeed; it returns when the first one's do, or when that is not heard of any more.
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
