// Package outage_test takes the broker, or Redis, or processes away from a service of two processes that commits facts and follows them itself,
// in every mode. However that ends: each committed fact has its effect once in each group, in order, and the service is back in NORMAL by
// itself.
//
// A short rehearsal runs always, beside other tests, so what it promises in time may take three times as long; OUTAGES=60s runs everything, each
// outage for so long, and measures.
package outage_test

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/deploy/rocketmq/smalldisk"
)

func long() bool { return os.Getenv("OUTAGES") != "" }

// within returns in what time something must happen that is promised within d.
func within(d time.Duration) time.Duration {
	if long() {
		return d
	}
	return 3 * d
}

// lasts is how long an outage lasts.
func lasts() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("OUTAGES")); err == nil {
		return d
	}
	return 4 * time.Second
}

// each runs those of all that are rehearsed, or all of them when this is no rehearsal.
func each[S any](t *testing.T, all map[string]S, rehearsed []string, run func(*testing.T, S)) {
	t.Parallel()
	names := rehearsed
	if long() {
		names = slices.Sorted(maps.Keys(all))
	}
	for _, name := range names {
		require.Contains(t, all, name)
		t.Run(name, func(t *testing.T) {
			if !long() {
				t.Parallel()
			}
			run(t, all[name])
		})
	}
}

const (
	silentUp   = `{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`
	silentDown = `{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`
	reset      = `{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 0}}`
	slow       = `{"type": "latency", "stream": "downstream", "attributes": {"latency": 5000}}`
)

// TestUnreachable: the broker cannot be reached by both processes, or by one of them alone. It is noticed in 3 s; meanwhile effects follow; and
// the mode does not flap though one process would reach the broker.
func TestUnreachable(t *testing.T) {
	type fault struct {
		kinds []string
		alone bool
	}
	each(t, map[string]fault{
		"nobody listens": {nil, false}, "blackhole": {[]string{silentUp, silentDown}, false}, "reset": {[]string{reset}, false},
		"slow": {[]string{slow}, false}, "nobody listens, for one": {nil, true}, "blackhole, for one": {[]string{silentUp, silentDown}, true},
		"reset, for one": {[]string{reset}, true}, "slow, for one": {[]string{slow}, true},
	}, []string{"blackhole", "reset, for one"}, func(t *testing.T, f fault) {
		w := newWorld(t)
		began := time.Now()
		end := w.nets[0].disturb(t, f.kinds...)
		defer end()
		if !f.alone {
			endB := w.nets[1].disturb(t, f.kinds...)
			defer endB()
			first := end
			end = func() { first(); endB() }
		}
		noticed := w.await(t, redis.Degraded, 10*time.Second)
		assert.Less(t, noticed.Sub(began), within(3*time.Second))
		opened, err := w.queues.Look(t.Context())
		require.NoError(t, err)
		w.more(t, 20)
		time.Sleep(lasts()) // the outage itself
		still, err := w.queues.Look(t.Context())
		require.NoError(t, err)
		assert.Equal(t, opened.Epoch, still.Epoch, "%s: %s", still.Mode, still.Why)
		back := time.Now()
		end()
		normal := w.await(t, redis.Normal, 100*time.Second)
		w.more(t, 60)
		after := time.Now()
		w.settle(t)
		t.Logf("noticed after %.1f s; meanwhile %s; NORMAL %.1f s after it could be reached again; then %s", noticed.Sub(began).Seconds(),
			w.delays(t, noticed.Add(time.Second), back), normal.Sub(back).Seconds(), w.delays(t, normal, after))
	})
}

// TestRefusing: the broker answers, and takes nothing because its disk is full, until there is room. It looks at its disk for the first time a
// minute after its start, so this is not rehearsed.
func TestRefusing(t *testing.T) {
	each(t, map[string]int{"full disk": 200}, nil, func(t *testing.T, megabytes int) {
		disk := smalldisk.Mount(t, megabytes)
		broker, err := rocketmqtest.Start("storePathRootDir="+disk.Dir+"/store", "mappedFileSizeCommitLog=1048576", "cleanResourceInterval=500")
		require.NoError(t, err)
		t.Cleanup(broker.Stop)
		w := newWorldAt(t, broker)
		require.NoError(t, disk.Fill(0.93))
		noticed := w.await(t, redis.Degraded, 2*time.Minute)
		s, err := w.queues.Look(t.Context())
		require.NoError(t, err)
		assert.Contains(t, s.Why, "CODE: 14", "it refuses")
		w.more(t, 20)
		time.Sleep(lasts()) // the outage itself
		back := time.Now()
		require.NoError(t, disk.Empty())
		normal := w.await(t, redis.Normal, 2*time.Minute)
		w.settle(t)
		t.Logf("meanwhile %s; NORMAL %.1f s after there was room", w.delays(t, noticed.Add(time.Second), back), normal.Sub(back).Seconds())
	})
}

// TestRedisToo: Redis fails while the broker is away.
func TestRedisToo(t *testing.T) {
	each(t, map[string]struct {
		args []string
		fail func(t *testing.T, w *world)
	}{
		"killed": {nil, func(t *testing.T, w *world) {
			w.redis.Stop()
			time.Sleep(lasts() / 2) // both are away
			w.redis.Restart(t)
		}},
		"frozen": {nil, func(t *testing.T, w *world) {
			w.redis.Freeze(t)
			time.Sleep(lasts() / 2)
			w.redis.Thaw(t)
		}},
		"emptied": {nil, func(t *testing.T, w *world) {
			require.NoError(t, w.raw(t).FlushAll(t.Context()).Err())
		}},
		"full": {[]string{"--maxmemory", "8mb"}, func(t *testing.T, w *world) {
			filler := make([]byte, 1<<20)
			rdb := w.raw(t)
			for n := 0; rdb.Append(t.Context(), "filler", string(filler)).Err() == nil; n++ {
				require.Less(t, n, 20)
			}
			time.Sleep(lasts() / 2) // events wait in the outbox
			require.NoError(t, rdb.Del(t.Context(), "filler").Err())
		}},
		"killed, and the broker is back first": {nil, func(t *testing.T, w *world) {
			w.redis.Stop()
			for _, n := range w.nets {
				_ = n.broker.Start()
			}
			w.more(t, 20)
			w.redis.Restart(t)
		}},
	}, []string{"killed", "emptied", "full"}, func(t *testing.T, s struct {
		args []string
		fail func(t *testing.T, w *world)
	}) {
		w := newWorld(t, s.args...)
		ends := []func(){w.nets[0].disturb(t), w.nets[1].disturb(t)}
		w.await(t, redis.Degraded, 10*time.Second)
		w.more(t, 20)
		s.fail(t, w)
		w.await(t, redis.Degraded, 20*time.Second)
		w.more(t, 20)
		for i, end := range ends {
			if w.nets[i].broker.Enabled {
				continue
			}
			end()
		}
		w.settle(t)
	})
}

// TestProcesses: a process is killed, or sleeps across a change, in each mode; the one that found the broker away, and the other one.
func TestProcesses(t *testing.T) {
	type part struct {
		mode   redis.Mode
		opener bool
		sleeps bool
	}
	each(t, map[string]part{
		"opener killed in DEGRADED": {redis.Degraded, true, false}, "other killed in DEGRADED": {redis.Degraded, false, false},
		"opener killed in DRAINING": {redis.Draining, true, false}, "other killed in DRAINING": {redis.Draining, false, false},
		"killed in NORMAL": {redis.Normal, false, false}, "sleeps across the outage": {redis.Normal, false, true},
		"sleeps across the return": {redis.Degraded, false, true}, "opener sleeps across the return": {redis.Degraded, true, true},
	}, []string{"opener killed in DEGRADED", "killed in NORMAL", "opener sleeps across the return"}, func(t *testing.T, p part) {
		w := newWorld(t)
		victim, net := &w.b, 1
		hit := func() {
			if p.sleeps {
				w.freeze(t, *victim)
				return
			}
			(*victim).kill()
		}
		if p.mode == redis.Normal {
			hit()
		}
		ends := []func(){w.nets[0].disturb(t), w.nets[1].disturb(t)}
		w.await(t, redis.Degraded, 10*time.Second)
		s, err := w.queues.Look(t.Context())
		require.NoError(t, err)
		if w.is(s.Opener, w.a) == p.opener && p.mode != redis.Normal {
			victim, net = &w.a, 0
		}
		w.more(t, 20)
		if p.mode == redis.Degraded {
			hit()
		}
		time.Sleep(lasts() / 2) // the outage goes on
		for _, end := range ends {
			end()
		}
		if p.mode == redis.Draining {
			w.await(t, redis.Draining, 30*time.Second)
			hit()
		}
		w.await(t, redis.Normal, 60*time.Second)
		w.more(t, 20)
		if p.sleeps {
			(*victim).thaw(t)
		} else {
			*victim = w.start(t, w.nets[net].names)
			(*victim).say("facts on")
		}
		w.more(t, 40)
		w.settle(t)
	})
}

// TestLag: a strict group was away, and what waits for it lies in the broker that nobody can reach, when its next events come by Redis. It asks
// for what it misses, and has it before the broker is back.
func TestLag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.end(t)
	w.b.end(t)
	maker := w.start(t, w.nets[0].names, "OUTAGE_GROUPS=no")
	maker.say("facts on")
	backlog := 100
	if long() {
		backlog = 5000 // ten minutes
	}
	require.Eventually(t, func() bool { return w.waitingInBroker(t) >= backlog }, 15*time.Minute, 100*time.Millisecond)
	ends := []func(){w.nets[0].disturb(t), w.nets[1].disturb(t)}
	w.await(t, redis.Degraded, 10*time.Second)
	w.a, w.b = maker, w.start(t, w.nets[1].names)
	w.b.say("facts on")
	require.Eventually(t, func() bool { return w.strictIsThrough(t) }, 60*time.Second, 100*time.Millisecond, "strict has what lies in the broker")
	s, err := w.queues.Look(t.Context())
	require.NoError(t, err)
	assert.Equal(t, redis.Degraded, s.Mode, "and the broker is still away")
	for _, end := range ends {
		end()
	}
	w.settle(t)
}

// TestFlapping: the broker comes and goes; the mode changes less and less often.
func TestFlapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	times, pause := 3, 3*time.Second
	if long() {
		times, pause = 12, 5*time.Second
	}
	for range times {
		ends := []func(){w.nets[0].disturb(t), w.nets[1].disturb(t)}
		time.Sleep(pause) // away
		for _, end := range ends {
			end()
		}
		time.Sleep(pause) // and back
	}
	lines, err := w.queues.History(t.Context())
	require.NoError(t, err)
	for _, line := range lines {
		t.Log(line)
	}
	assert.NotEmpty(t, lines)
	assert.LessOrEqual(t, len(lines), 9, "two times there and back, and there once more")
	w.settle(t)
}

// TestQueued: many events lie in the queues when the broker is back; the groups work them off, and then the mode is NORMAL. It is 10,000 when
// this is no rehearsal.
func TestQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := []func(){w.nets[0].disturb(t), w.nets[1].disturb(t)}
	w.await(t, redis.Degraded, 10*time.Second)
	w.a.end(t)
	w.b.end(t)
	many := 1000
	if long() {
		many = 10_000
	}
	w.a = w.start(t, w.nets[0].names, "OUTAGE_GROUPS=no", "OUTAGE_FAST=yes")
	w.a.say("facts on")
	require.Eventually(t, func() bool {
		b, err := w.queues.Backlog(t.Context())
		return err == nil && b.Entries >= int64(many)
	}, 5*time.Minute, 100*time.Millisecond)
	w.a.say("facts off")
	w.b = w.start(t, w.nets[1].names)
	back := time.Now()
	for _, end := range ends {
		end()
	}
	normal := w.await(t, redis.Normal, 3*time.Minute)
	t.Logf("NORMAL %.1f s after the broker could be reached again, with %d events queued for three groups", normal.Sub(back).Seconds(), many)
	assert.Less(t, normal.Sub(back), time.Minute)
	w.settle(t)
}
