package failover_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/failover/failovertest"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/redistest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// house is a broker and a Redis that several processes use.
type house struct {
	broker *memory.Transport
	redis  *redistest.Server
	prefix string
}

func newHouse(t *testing.T) *house {
	return &house{memory.New(), redistest.Start(t), mq.NewID()}
}

// process is one process of the house.
type process struct {
	*failovertest.Process
	again chan time.Time
	stop  func()
}

// process starts a process, until the test ends or it is stopped.
func (h *house) process(t *testing.T, name string, change ...func(*failover.Config)) *process {
	t.Helper()
	cfg := failovertest.Quick()
	for _, f := range change {
		f(&cfg)
	}
	p := h.idle(t, name, cfg)
	p.stop = background(t, p.Run)
	return p
}

// idle returns a process that does not watch.
func (h *house) idle(t *testing.T, name string, cfg failover.Config) *process {
	t.Helper()
	p := &process{Process: failovertest.New(t, name, h.broker, h.redis.Addr, h.prefix, cfg), again: make(chan time.Time, 10)}
	p.Backfill(func(_ context.Context, since time.Time) { p.again <- since })
	return p
}

func background(t *testing.T, work func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

// state returns the switch.
func (p *process) state(t *testing.T) redis.State {
	t.Helper()
	s, err := p.Queues.Look(t.Context())
	require.NoError(t, err)
	return s
}

// await waits until the mode is want and the process knows it, and returns how long that took.
func (p *process) await(t *testing.T, want redis.Mode, longest time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for time.Since(start) < longest {
		s, err := p.Queues.Look(t.Context())
		if err == nil && s.Epoch > 0 && s.Mode == want && (p.Undisturbed() == 0) == (want != redis.Normal) {
			return time.Since(start)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the mode is not %s after %s: %+v", want, longest, p.state(t))
	return 0
}

// awaitEmpty waits until nothing is in the queues. What every group has settled is deleted a little later when groups are new.
func (p *process) awaitEmpty(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		b, err := p.Queues.Backlog(t.Context())
		return err == nil && b.Entries == 0
	}, 20*time.Second, 50*time.Millisecond)
}

// send sends an event and returns its error.
func (p *process) send(t *testing.T, subject string, n int64) error {
	t.Helper()
	return p.Send(t.Context(), "things", event(subject, n), time.Time{})
}

func event(subject string, n int64) mq.Event {
	return mq.Event{ID: mq.NewID(), Source: "/test", Type: "thing.happened", Subject: subject, Sequence: n, Time: time.Now(), Data: []byte(`{}`)}
}

// traffic sends events of many subjects until it is stopped, as a relay would: each until it is taken.
func (p *process) traffic(t *testing.T) (stop func()) {
	return background(t, func(ctx context.Context) error {
		for n := int64(1); ctx.Err() == nil; n++ {
			e := event(fmt.Sprint("s", n%40), 0)
			for ctx.Err() == nil && p.Send(ctx, "things", e, time.Time{}) != nil {
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	})
}

// listen collects what group takes.
func (p *process) listen(t *testing.T, group string) *taken {
	got := &taken{bySubject: map[string][]int64{}}
	got.stop = background(t, func(ctx context.Context) error {
		return p.Listen(ctx, mq.Subscription{Group: group, Topic: "things", Workers: 8}, func(d mq.Delivery) bool {
			got.mu.Lock()
			defer got.mu.Unlock()
			got.types = append(got.types, d.Event.Type)
			got.bySubject[d.Event.Subject] = append(got.bySubject[d.Event.Subject], d.Event.Sequence)
			return true
		})
	})
	return got
}

type taken struct {
	stop      func()
	mu        sync.Mutex
	bySubject map[string][]int64
	types     []string
}

func (g *taken) of(subject string) []int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int64(nil), g.bySubject[subject]...)
}
