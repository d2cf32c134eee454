package redis_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
)

// look returns the switch.
func look(t *testing.T, q *redis.Queues) redis.State {
	t.Helper()
	s, err := q.Look(t.Context())
	require.NoError(t, err)
	return s
}

// change requires that c is made of s, or that it is not.
func change(t *testing.T, q *redis.Queues, s redis.State, c redis.Change, want bool) {
	t.Helper()
	done, err := q.Change(t.Context(), s, c)
	require.NoError(t, err)
	require.Equal(t, want, done)
}

// TestStale: an event that is sent in a state of the switch that is over is not taken.
func TestStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	sendIn := func(epoch int64) error { return q.SendIn(t.Context(), epoch, topic, mqlaws.New("s", 1), time.Time{}) }
	require.ErrorIs(t, sendIn(1), redis.ErrStale, "there is no switch")
	require.Zero(t, w.entries())
	for range 12 { // epochs are numbers, not texts: 9, 10
		s := look(t, q)
		change(t, q, s, redis.Change{By: "x", To: redis.Degraded}, true)
		require.ErrorIs(t, sendIn(s.Epoch), redis.ErrStale)
		require.ErrorIs(t, sendIn(s.Epoch+2), redis.ErrStale)
		n := w.entries()
		require.Equal(t, s.Epoch, n)
		require.NoError(t, sendIn(s.Epoch+1))
		require.Equal(t, n+1, w.entries())
	}
	require.NoError(t, w.raw.FlushAll(t.Context()).Err())
	require.ErrorIs(t, sendIn(12), redis.ErrStale, "Redis was emptied")
	require.Zero(t, w.entries())
}

// TestChange: who may move the switch, and what becomes of it.
func TestChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const long, short = time.Hour, time.Millisecond
	for name, test := range map[string]struct {
		lease  time.Duration // of the opener "x"; none when zero
		change redis.Change
		stale  int64 // how far the caller's epoch is behind
		want   bool
	}{
		"nobody has a lease":                  {0, redis.Change{By: "y", Leased: true}, 0, true},
		"the lease of another runs":           {long, redis.Change{By: "y", Leased: true}, 0, false},
		"its own lease runs":                  {long, redis.Change{By: "x", Leased: true}, 0, true},
		"the lease of another has run out":    {short, redis.Change{By: "y", Leased: true}, 0, true},
		"its own lease has run out":           {short, redis.Change{By: "x", Leased: true}, 0, true},
		"whoever has it, an operator may":     {long, redis.Change{By: "y"}, 0, true},
		"the epoch is another one":            {0, redis.Change{By: "y"}, 1, false},
		"the epoch is another one, own lease": {long, redis.Change{By: "x", Leased: true}, 1, false},
		"it takes the lease over":             {short, redis.Change{By: "y", Leased: true, Lease: long}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := *w
			w.prefix = strings.ReplaceAll(name, " ", "-")
			q := w.open(t)
			change(t, q, redis.State{}, redis.Change{By: "x", To: redis.Degraded, Why: "it is away", Lease: test.lease}, true)
			was := look(t, q)
			assert.EqualValues(t, 1, was.Epoch)
			assert.Equal(t, redis.Degraded, was.Mode)
			assert.WithinDuration(t, was.Now, was.Since, 5*time.Second)
			assert.Equal(t, "it is away, x", was.Why+", "+was.By)
			if test.lease > 0 {
				assert.Equal(t, "x", was.Opener)
				assert.WithinDuration(t, was.Since.Add(test.lease), was.Lease, 5*time.Second)
			}
			await(t, "another millisecond", func() bool { return look(t, q).Now.Sub(was.Now) > 5*time.Millisecond })

			known := was
			known.Epoch -= test.stale
			for _, to := range []redis.Mode{"", redis.Draining} {
				c := test.change
				c.To, c.Why = to, "why not"
				change(t, q, known, c, test.want)
				is := look(t, q)
				is.Now = was.Now
				if !test.want {
					assert.Equal(t, was, is, "nothing has changed")
					continue
				}
				if c.Lease > 0 {
					assert.Equal(t, c.By, is.Opener)
					assert.WithinDuration(t, is.Now.Add(c.Lease), is.Lease, 5*time.Second)
				} else {
					assert.Equal(t, was.Opener, is.Opener)
					assert.Equal(t, was.Lease, is.Lease)
				}
				if to == "" {
					assert.Equal(t, was.Epoch, is.Epoch)
					assert.Equal(t, was.Mode, is.Mode)
					assert.Equal(t, was.Since, is.Since)
				} else {
					assert.Equal(t, was.Epoch+1, is.Epoch)
					assert.Equal(t, to, is.Mode)
					assert.True(t, is.Since.After(was.Since))
				}
			}
		})
	}
}

// TestFields: what a change does not name stays.
func TestFields(t *testing.T) {
	t.Parallel()
	q := newWorld(t).open(t)
	topic, store, held := "orders", "store", redis.Held
	change(t, q, look(t, q), redis.Change{By: "x", To: redis.Normal, Topic: &topic, Store: &store}, true)
	change(t, q, look(t, q), redis.Change{By: "op", Why: "maintenance", Force: &held}, true)
	for range 12 {
		change(t, q, look(t, q), redis.Change{By: "x", To: redis.Degraded, Opened: true}, true)
	}
	s := look(t, q)
	assert.EqualValues(t, 13, s.Epoch)
	assert.Equal(t, "orders store DEGRADED", s.Topic+" "+s.Store+" "+string(s.Force))
	require.Len(t, s.Opened, 10)
	for i, at := range s.Opened {
		assert.WithinDuration(t, s.Now, at, 10*time.Second)
		assert.False(t, i > 0 && at.Before(s.Opened[i-1]))
	}
	lines, err := q.History(t.Context())
	require.NoError(t, err)
	require.Len(t, lines, 14)
	ms, forced, _ := strings.Cut(lines[12], " ")
	assert.Equal(t, `NORMAL forced "DEGRADED" by op: maintenance`, forced)
	at, err := strconv.ParseInt(ms, 10, 64)
	require.NoError(t, err)
	assert.WithinDuration(t, s.Now, time.UnixMilli(at), 10*time.Second)
}

// TestRacingChanges: of any number of changes of the same state one is made. The history has a line for it, and the last hundred.
func TestRacingChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	for n := range 110 {
		s := look(t, q)
		var (
			wg   sync.WaitGroup
			made atomic.Int64
		)
		for by := range 3 {
			wg.Go(func() {
				c := redis.Change{By: strconv.Itoa(by), To: redis.Degraded, Why: strconv.Itoa(n), Lease: time.Hour}
				done, err := q.Change(t.Context(), s, c)
				assert.NoError(t, err)
				if done {
					made.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, made.Load())
		require.Equal(t, s.Epoch+1, look(t, q).Epoch)
	}
	lines, err := q.History(t.Context())
	require.NoError(t, err)
	require.Len(t, lines, 100)
	for i, line := range lines {
		assert.Contains(t, line, " by ")
		assert.True(t, strings.HasSuffix(line, ": "+strconv.Itoa(109-i)), line)
	}
}

// TestCreate: a switch is made again as it was known, of those that race by one, and only where there is none.
func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	held := redis.Held
	for range 12 {
		change(t, q, look(t, q), redis.Change{By: "x", To: redis.Degraded, Why: "away", Lease: time.Hour, Force: &held, Opened: true}, true)
	}
	was := look(t, q)
	created, err := q.Create(t.Context(), was, "second")
	require.NoError(t, err)
	require.False(t, created, "there is one")
	require.Empty(t, look(t, q).Store)

	require.NoError(t, w.raw.FlushAll(t.Context()).Err())
	s := look(t, q)
	assert.Equal(t, redis.State{Mode: redis.Normal, Now: s.Now}, s)
	var (
		wg  sync.WaitGroup
		won = make(chan string, 8)
	)
	for n := range 8 {
		wg.Go(func() {
			created, err := w.open(t).Create(t.Context(), was, strconv.Itoa(n))
			assert.NoError(t, err)
			if created {
				won <- strconv.Itoa(n)
			}
		})
	}
	wg.Wait()
	close(won)
	want := was
	want.Store = <-won
	_, more := <-won
	assert.False(t, more, "two have made it")
	is := look(t, q)
	want.Epoch++
	want.Now = is.Now
	assert.Equal(t, want, is)
}

// TestWatch: whoever watches looks at once when the switch is moved, also after a restart of Redis, and ends with its context.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	var looks atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		q.Watch(ctx, time.Hour, func() { looks.Add(1) })
		close(ended)
	}()
	watched := func() bool {
		return w.raw.PubSubNumSub(t.Context(), w.prefix+":switched").Val()[w.prefix+":switched"] == 1
	}
	await(t, "it watches", watched)
	require.EqualValues(t, 1, looks.Load())
	change(t, q, look(t, q), redis.Change{By: "x", To: redis.Degraded}, true)
	await(t, "a look", func() bool { return looks.Load() == 2 })
	w.Restart(t)
	await(t, "it watches again", watched)
	created, err := q.Create(t.Context(), redis.State{Mode: redis.Degraded, Epoch: 1}, "new")
	require.NoError(t, err)
	require.True(t, created)
	await(t, "another look", func() bool { return looks.Load() >= 3 })
	cancel()
	<-ended
	assert.ErrorIs(t, q.SendIn(t.Context(), 1, topic, mqlaws.New("s", 1), time.Time{}), redis.ErrStale)
	assert.NotErrorIs(t, redis.ErrStale, mq.ErrHeld)
}
