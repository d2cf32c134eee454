package redis_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/redistest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they mostly wait for leases; the command line has the last word
	mysqltest.Main(m)
}

// open returns a connection to s, with keys that no other test uses.
func open(t *testing.T, s *redistest.Server, change ...func(*redis.Config)) *redis.Queues {
	t.Helper()
	cfg := redis.Config{Addr: s.Addr, Prefix: mq.NewID()}
	for _, f := range change {
		f(&cfg)
	}
	q, err := redis.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(q.Close)
	return q
}

func TestLaws(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	mqlaws.Run(t, func(t *testing.T) (mq.Transport, string) {
		return open(t, s, func(cfg *redis.Config) { cfg.Timeout = 2 * time.Second }), topic // they require that a call succeeds
	})
}

// topic is the one that most tests send to.
const topic = "things"

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// world is a Redis of the test's own, with a lease of a second.
type world struct {
	*redistest.Server
	prefix string
	raw    *goredis.Client
}

func newWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := &world{Server: redistest.Start(t, args...), prefix: "test"}
	w.raw = goredis.NewClient(&goredis.Options{Addr: w.Addr, MaxRetries: -1})
	t.Cleanup(func() { _ = w.raw.Close() })
	return w
}

// open returns another connection to the same queues.
func (w *world) open(t *testing.T, change ...func(*redis.Config)) *redis.Queues {
	t.Helper()
	return open(t, w.Server, append([]func(*redis.Config){func(cfg *redis.Config) {
		cfg.Prefix, cfg.Lease, cfg.Timeout = w.prefix, time.Second, time.Second
	}}, change...)...)
}

func (w *world) queue(shard int) string { return fmt.Sprintf("%s:queue:%d", w.prefix, shard) }

// entries returns how many entries lie in the queues, -1 while Redis does not say.
func (w *world) entries() (n int64) {
	lengths := make([]*goredis.IntCmd, 100)
	_, err := w.raw.Pipelined(context.Background(), func(p goredis.Pipeliner) error {
		for shard := range lengths {
			lengths[shard] = p.XLen(context.Background(), w.queue(shard))
		}
		return nil
	})
	if err != nil {
		return -1
	}
	for _, one := range lengths {
		n += one.Val()
	}
	return n
}

// shares returns how many queues each instance of group has, from the least.
func (w *world) shares(group string) []int {
	counts := map[string]int{}
	for _, instance := range w.raw.HGetAll(context.Background(), w.prefix+":owners:"+group).Val() {
		counts[instance]++
	}
	return slices.Sorted(maps.Values(counts))
}

// pending returns how many entries group has read and not settled.
func (w *world) pending(group string) (n int64) {
	for shard := range 100 {
		if p, err := w.raw.XPending(context.Background(), w.queue(shard), group).Result(); err == nil {
			n += p.Count
		}
	}
	return n
}

// grouped waits until groups exist at every queue.
func (w *world) grouped(t *testing.T, groups ...string) {
	t.Helper()
	await(t, "every queue has the groups", func() bool {
		for shard := range 100 {
			there, err := w.raw.XInfoGroups(context.Background(), w.queue(shard)).Result()
			for _, group := range groups {
				if err != nil || !slices.ContainsFunc(there, func(g goredis.XInfoGroup) bool { return g.Name == group }) {
					return false
				}
			}
		}
		return true
	})
}

// old waits until what all groups have settled is deleted at once.
func (w *world) old(t *testing.T) {
	t.Helper()
	await(t, "the queues are not young any more", func() bool { return w.raw.Exists(context.Background(), w.prefix+":young").Val() == 0 })
}

// away makes a group that has no instance.
func (w *world) away(t *testing.T, q *redis.Queues, s mq.Subscription) {
	t.Helper()
	stop := listen(t, q, s, func(mq.Delivery) bool { return false })
	w.grouped(t, s.Group)
	stop()
}

// await waits until true holds.
func await(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: ", what)
		}
	}
}

// subscription is one of eight workers.
func subscription(group string) mq.Subscription {
	return mq.Subscription{Group: group, Topic: topic, Workers: 8}
}

// listen runs an instance of a group until the test ends or stop is called, which returns when Listen has.
func listen(t *testing.T, q *redis.Queues, s mq.Subscription, take func(mq.Delivery) bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Listen(ctx, s, take) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			assert.NoError(t, err)
		case <-time.After(patience):
			t.Error("Listen does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// send sends an event and requires that it is taken.
func send(t *testing.T, q *redis.Queues, e mq.Event) {
	t.Helper()
	require.NoError(t, q.Send(t.Context(), topic, e, time.Time{}))
}

// sendAll sends events 1 to n of so many subjects.
func sendAll(t *testing.T, q *redis.Queues, subjects, n int) {
	t.Helper()
	for seq := range n {
		for subject := range subjects {
			send(t, q, mqlaws.New(strconv.Itoa(subject), int64(seq+1)))
		}
	}
}

// record is what a group has taken. The numbers of each subject begin at 1.
type record struct {
	mu    sync.Mutex
	last  map[string]int64
	n     int // how many different events
	again int // how many came again
	wrong []string
}

// take is for Listen.
func (r *record) take(d mq.Delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]int64{}
	}
	switch last, e := r.last[d.Event.Subject], d.Event; {
	case d.Broken != nil:
		r.wrong = append(r.wrong, d.Broken.Error())
	case e.Sequence <= last:
		r.again++
	case e.Sequence == last+1:
		r.last[e.Subject]++
		r.n++
	default:
		r.wrong = append(r.wrong, fmt.Sprintf("%s: %d after %d", e.Subject, e.Sequence, last))
	}
	return true
}

// events returns how many different events were taken.
func (r *record) events() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// awaitAll waits for n different events, and requires that no subject's came for the first time out of order.
func (r *record) awaitAll(t *testing.T, n int) {
	t.Helper()
	await(t, fmt.Sprint(n, " events"), func() bool { return r.events() >= n || r.failed() })
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.wrong, "out of order")
	require.Equal(t, n, r.n)
}

func (r *record) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.wrong) > 0
}

// big returns an event of that many bytes or more.
func big(subject string, sequence int64, bytes int) mq.Event {
	e := mqlaws.New(subject, sequence)
	e.Data = fmt.Appendf(nil, `"%0*d"`, bytes, 0)
	return e
}

// fill sends big events of ever other subjects, or of one, until Redis holds them off, and returns how many it took.
func fill(t *testing.T, q *redis.Queues, subject func(n int) string, bytes int) (n int, held error) {
	t.Helper()
	for last := map[string]int64{}; n < 100_000; n++ {
		s := subject(n)
		if held = q.Send(t.Context(), topic, big(s, last[s]+1, bytes), time.Time{}); held != nil {
			require.ErrorIs(t, held, mq.ErrHeld)
			return n, held
		}
		last[s]++
	}
	t.Fatal("it is never full")
	return 0, errors.New("never")
}
