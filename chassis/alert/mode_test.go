package alert_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover/failovertest"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/redistest"
)

// watched is a process that sends, whose way of events two instances watch.
type watched struct {
	*failovertest.Process
	db      *sql.DB
	of      [2]*alert.Alerts
	watches [2]alert.ModeWatch
	redis   *redistest.Server
}

const (
	long   = 800 * time.Millisecond
	settle = 200 * time.Millisecond
)

func watch(t *testing.T, canary int) *watched {
	t.Helper()
	w := &watched{redis: redistest.Start(t, "--appendonly", "yes")}
	cfg := failovertest.Quick()
	cfg.Canary = canary
	w.Process = failovertest.New(t, "a", memory.New(), w.redis.Addr, mq.NewID(), cfg)
	w.db, w.of = open(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	w.await(t, redis.Normal)
	require.NoError(t, w.Send(t.Context(), "things", mq.Event{ID: mq.NewID(), Source: "/a", Type: "t", Time: time.Now()}, time.Time{}))
	w.restart()
	return w
}

// restart begins with watches that have seen nothing.
func (w *watched) restart() {
	for i := range w.watches {
		w.watches[i] = alert.NewModeWatch(w.of[i], w.Transport, long, settle)
	}
}

// look has both instances look, both at once.
func (w *watched) look(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	for _, one := range w.watches {
		wg.Go(func() { assert.NoError(t, one.Look(t.Context())) })
	}
	wg.Wait()
}

func (w *watched) await(t *testing.T, m redis.Mode) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := w.Look(t.Context())
		return err == nil && s.Epoch > 0 && s.Mode == m
	}, 20*time.Second, 5*time.Millisecond, string(m))
}

// outage has the mode be DEGRADED, and NORMAL again if that is wanted.
func (w *watched) outage(t *testing.T, why string, over bool) {
	t.Helper()
	require.NoError(t, w.Force(t.Context(), redis.Held, "somebody", why))
	w.await(t, redis.Degraded)
	if over {
		w.back(t)
	}
}

func (w *watched) back(t *testing.T) {
	t.Helper()
	require.NoError(t, w.Force(t.Context(), redis.Automatic, "somebody", "it works"))
	w.await(t, redis.Normal)
}

// tellings returns how often operators were told of the mode: its beginning, that it lasts, and its end.
func (w *watched) tellings(t *testing.T) (all []string) {
	t.Helper()
	for _, e := range mqtest.Outbox[alertv1.Raised](t, w.db, alertv1.Topic) {
		what := fmt.Sprint(e.Data.GetKey(), " ", e.Data.GetTimes())
		if e.Data.GetOver() {
			what += " over"
		}
		all = append(all, what)
	}
	return all
}

// last returns the last telling.
func (w *watched) last(t *testing.T) *alertv1.Raised {
	t.Helper()
	all := mqtest.Outbox[alertv1.Raised](t, w.db, alertv1.Topic)
	require.NotEmpty(t, all)
	return all[len(all)-1].Data
}

// TestWatchMode: operators are told when events go by Redis, and why, again at growing pauses for how long, and once that it is over; and
// anew the next time.
func TestWatchMode(t *testing.T) {
	t.Parallel()
	w := watch(t, -1)
	for range 3 {
		w.look(t)
	}
	assert.Empty(t, w.tellings(t), "nothing ever was")
	w.outage(t, "the rack moves", false)
	for range 3 {
		w.look(t)
	}
	require.Equal(t, []string{"mq-mode 1"}, w.tellings(t))
	assert.Regexp(t, `^events have gone by Redis for [0-9.]+m?s: an operator keeps them away`, w.last(t).GetSummary())
	for _, part := range []string{"the rack moves", "by somebody", "now       DEGRADED", "GET  /v1/ops/mq", "docs/runbook.md#mq-mode"} {
		assert.Contains(t, w.last(t).GetDetail(), part)
	}
	pass(t, w.db, 6*time.Minute)
	w.look(t)
	require.Equal(t, []string{"mq-mode 1", "mq-mode 2"}, w.tellings(t))
	w.restart()
	w.look(t)
	require.Len(t, w.tellings(t), 2, "it was told, also by who has begun anew")
	w.back(t)
	for range 3 {
		w.look(t)
	}
	require.Equal(t, []string{"mq-mode 1", "mq-mode 2", "mq-mode 2 over"}, w.tellings(t))
	assert.Regexp(t, `^events go by the broker again, after [0-9.]+m?s by Redis$`, w.last(t).GetSummary())
	assert.Contains(t, w.last(t).GetDetail(), "the rack moves")
	w.restart()
	w.look(t)
	w.outage(t, "once more", false)
	w.look(t)
	w.back(t)
	w.look(t)
	assert.Equal(t, []string{"mq-mode 1", "mq-mode 2", "mq-mode 2 over", "mq-mode 1", "mq-mode 1 over"}, w.tellings(t))
}

// TestModeBetweenLooks: an outage that nobody saw is told, and so is a return that nobody saw; each once, by whoever looks how often.
func TestModeBetweenLooks(t *testing.T) {
	t.Parallel()
	w := watch(t, -1)
	w.look(t)
	w.outage(t, "a moment", true)
	for range 5 {
		w.look(t)
	}
	require.Equal(t, []string{"mq-mode 1", "mq-mode 1 over"}, w.tellings(t))
	for _, e := range mqtest.Outbox[alertv1.Raised](t, w.db, alertv1.Topic) {
		assert.Contains(t, e.Data.GetDetail(), "a moment")
	}
	w.outage(t, "longer", false)
	w.look(t)
	w.back(t)
	w.outage(t, "and again", false)
	w.look(t)
	require.Equal(t, []string{"mq-mode 1", "mq-mode 1 over", "mq-mode 1", "mq-mode 1 over", "mq-mode 1"}, w.tellings(t))
	w.back(t)
	w.outage(t, "and a moment", true)
	w.look(t)
	w.restart()
	w.look(t)
	assert.Equal(t, []string{"mq-mode 1 over", "mq-mode 1", "mq-mode 1 over"}, w.tellings(t)[5:])
	_, err := w.db.ExecContext(t.Context(), "DELETE FROM alert")
	require.NoError(t, err)
	w.look(t)
	assert.Len(t, w.tellings(t), 10, "a service that begins tells of what it missed")
}

// empty removes everything from Redis.
func empty(t *testing.T, s *redistest.Server) {
	t.Helper()
	rdb := goredis.NewClient(&goredis.Options{Addr: s.Addr})
	defer func() { _ = rdb.Close() }()
	require.NoError(t, rdb.FlushAll(t.Context()).Err())
}

// TestModeRedisEmptied: an outage lasts although Redis has forgotten that it began, and its end is told.
func TestModeRedisEmptied(t *testing.T) {
	t.Parallel()
	w := watch(t, -1)
	require.NoError(t, w.Send(t.Context(), "things", mq.Event{ID: mq.NewID(), Source: "/a", Type: "t", Time: time.Now()}, time.Time{}))
	w.Link.State.Store(failovertest.Refuses)
	require.Eventually(t, func() bool {
		_ = w.Send(t.Context(), "things", mq.Event{ID: mq.NewID(), Source: "/a", Type: "t", Time: time.Now()}, time.Time{})
		s, err := w.Look(t.Context())
		return err == nil && s.Mode == redis.Degraded
	}, 20*time.Second, 10*time.Millisecond)
	w.look(t)
	require.Equal(t, []string{"mq-mode 1"}, w.tellings(t))
	assert.Regexp(t, "the message broker is away$", w.last(t).GetSummary())
	assert.Contains(t, w.last(t).GetDetail(), "connect: connection refused")
	assert.NotContains(t, w.last(t).GetDetail(), "127.0.0.1", "addresses are in the log")
	s, err := w.Look(t.Context())
	require.NoError(t, err)
	empty(t, w.redis)
	require.Eventually(t, func() bool {
		now, err := w.Look(t.Context())
		return err == nil && now.Epoch > 0 && now.Store != s.Store
	}, 20*time.Second, 10*time.Millisecond)
	for range 3 {
		w.look(t)
	}
	require.Equal(t, []string{"mq-mode 1"}, w.tellings(t))
	w.Link.State.Store(failovertest.Works)
	w.await(t, redis.Normal)
	for range 3 {
		w.look(t)
	}
	assert.Equal(t, []string{"mq-mode 1", "mq-mode 1 over"}, w.tellings(t))
}

// TestQueuesRedisAway: operators are told when Redis has not answered for long, whatever the mode; once, also when it answers one of two
// instances.
func TestQueuesRedisAway(t *testing.T) {
	t.Parallel()
	w := watch(t, -1)
	w.look(t)
	w.redis.Freeze(t)
	w.look(t)
	assert.Empty(t, w.tellings(t))
	time.Sleep(long)
	w.look(t)
	w.look(t)
	require.Equal(t, []string{"mq-queues-redis 1"}, w.tellings(t))
	assert.Contains(t, w.last(t).GetDetail(), "nothing is delayed")
	assert.Contains(t, w.last(t).GetDetail(), "docs/runbook.md#mq-queues-redis")
	cut := w.watches[0] // one instance is cut off from a Redis that works
	require.NoError(t, w.of[1].Clear(t.Context(), "mq-queues-redis"))
	require.NoError(t, cut.Look(t.Context()))
	pass(t, w.db, time.Hour)
	require.NoError(t, w.of[1].Clear(t.Context(), "mq-queues-redis"))
	require.NoError(t, cut.Look(t.Context()))
	require.Len(t, w.tellings(t), 1)
	w.redis.Thaw(t)
	require.Eventually(t, func() bool { w.look(t); return !lasting(t, w.db, "mq-queues-redis") }, 10*time.Second, 50*time.Millisecond)
	w.redis.Freeze(t)
	w.look(t)
	time.Sleep(long)
	w.look(t)
	w.redis.Thaw(t)
	assert.Len(t, w.tellings(t), 2, "it is told anew")
}

// TestCanaryStands: operators are told when a group that is there does not settle what comes by Redis in NORMAL; not of a group that is
// away, nor in an outage.
func TestCanaryStands(t *testing.T) {
	t.Parallel()
	w := watch(t, 1) // every queue
	var held sync.Mutex
	listens := func(group string, take func() bool) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- w.Queues.Listen(ctx, mq.Subscription{Group: group, Topic: "things", Workers: 1}, func(mq.Delivery) bool { return take() })
		}()
		stop = sync.OnceFunc(func() { cancel(); assert.NoError(t, <-done) })
		t.Cleanup(stop)
		return stop
	}
	gone := listens("gone", func() bool { return true })
	listens("here", func() bool { held.Lock(); defer held.Unlock(); return true })
	require.Eventually(t, func() bool {
		b, err := w.CanaryBacklog(t.Context())
		return err == nil && len(b.Groups) == 2
	}, 20*time.Second, 10*time.Millisecond)
	gone()
	send := func() {
		require.NoError(t, w.Send(t.Context(), "things", mq.Event{ID: mq.NewID(), Source: "/a", Type: "t", Time: time.Now()}, time.Time{}))
	}
	looks := func() {
		for end := time.Now().Add(long + 4*settle); time.Now().Before(end); time.Sleep(settle / 2) {
			send()
			w.look(t)
		}
	}
	looks()
	require.Empty(t, w.tellings(t), "one group is away, and the other one's are young")
	held.Lock()
	looks()
	require.Equal(t, []string{"mq-canary 1"}, w.tellings(t))
	assert.Contains(t, w.last(t).GetDetail(), "here: ")
	assert.NotContains(t, w.last(t).GetDetail(), "gone: ")
	held.Unlock()
	require.Eventually(t, func() bool { w.look(t); return !lasting(t, w.db, "mq-canary") }, 10*time.Second, 50*time.Millisecond)
	held.Lock()
	defer held.Unlock()
	w.outage(t, "an outage", false)
	looks()
	assert.Equal(t, []string{"mq-canary 1", "mq-mode 1"}, w.tellings(t))
}
