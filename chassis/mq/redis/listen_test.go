package redis_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
)

// TestGoneWhenAllHaveSettled: an entry lies in its queue until the last group has settled it, whichever topic the groups are of, and not longer.
func TestGoneWhenAllHaveSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	var a, b, other record
	let := make(chan struct{})
	others := subscription("other")
	others.Topic = "others"
	listen(t, q, subscription("a"), a.take)
	listen(t, q, subscription("b"), func(d mq.Delivery) bool { <-let; return b.take(d) })
	listen(t, q, others, other.take)
	w.grouped(t, "a", "b", "other")
	w.old(t)
	sendAll(t, q, 20, 10)
	for n := range 50 { // in the same queues
		e := mqlaws.New(strconv.Itoa(n%20), int64(n/20+1))
		require.NoError(t, q.Send(t.Context(), "others", e, time.Time{}))
	}
	a.awaitAll(t, 200)
	other.awaitAll(t, 50)
	await(t, "a and other have settled all", func() bool { return w.pending("a")+w.pending("other") == 0 })
	assert.EqualValues(t, 250, w.entries(), "b has settled none")
	close(let)
	b.awaitAll(t, 200)
	await(t, "empty queues", func() bool { return w.entries() == 0 })
	assert.Zero(t, a.again+b.again+other.again)
}

// TestFailureStopsOneQueue: while a group cannot take an event, it goes on with its other queues and other groups go on with that one. It is
// tried again at pauses, and then all come in order.
func TestFailureStopsOneQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, stuck := range map[string]func(let *atomic.Bool) bool{
		"fails": func(let *atomic.Bool) bool { return let.Load() },
		"blocks": func(let *atomic.Bool) bool {
			for !let.Load() {
				time.Sleep(time.Millisecond)
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := *w
			w.prefix = name
			q := w.open(t)
			var (
				a, b  record
				let   atomic.Bool
				tries atomic.Int64
			)
			t.Cleanup(func() { let.Store(true) })
			listen(t, q, subscription("a"), func(d mq.Delivery) bool {
				if d.Event.Subject == "0" && d.Event.Sequence == 3 {
					if tries.Add(1); !stuck(&let) {
						return false
					}
				}
				return a.take(d)
			})
			listen(t, q, subscription("b"), b.take)
			w.grouped(t, "a", "b")
			began := time.Now()
			neighbours := 0 // in the same queue
			for n := range 30 {
				if q.ShardOf(mqlaws.New(strconv.Itoa(n), 1)) == q.ShardOf(mqlaws.New("0", 1)) {
					neighbours++
				}
			}
			sendAll(t, q, 30, 10)
			b.awaitAll(t, 300)
			await(t, "the other queues", func() bool { return a.events() >= (30-neighbours)*10+2 })
			if name == "fails" {
				await(t, "a second try", func() bool { return tries.Load() > 2 })
			}
			assert.LessOrEqual(t, tries.Load(), 2+int64(time.Since(began)/(50*time.Millisecond)))
			let.Store(true)
			a.awaitAll(t, 300)
			await(t, "empty queues", func() bool { return w.entries() == 0 })
		})
	}
}

// TestReadForNobody: entries that were read by a call whose answer nobody got, because it was lost or because an instance that was taken for
// dead made it, come all the same.
func TestReadForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	var r record
	let, begun := make(chan struct{}), make(chan struct{}, 1)
	listen(t, q, subscription("a"), func(d mq.Delivery) bool {
		if d.Event.Sequence == 1 {
			begun <- struct{}{}
			<-let
		}
		return r.take(d)
	})
	w.grouped(t, "a")
	send(t, q, mqlaws.New("s", 1))
	<-begun // nobody waits at this queue
	send(t, q, mqlaws.New("s", 2))
	queue := w.queue(q.ShardOf(mqlaws.New("s", 1)))
	require.NoError(t, w.raw.Do(t.Context(), "XREADGROUP", "GROUP", "a", "owner", "STREAMS", queue, ">").Err())
	close(let)
	r.awaitAll(t, 2)
	await(t, "empty queues", func() bool { return w.entries() == 0 })
}

// TestEmptied: when Redis has lost all, the groups are made anew and get what is sent from then on, each of them.
func TestEmptied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	groups := []string{"a", "b", "c"}
	records := make([]record, len(groups))
	for i, group := range groups {
		listen(t, w.open(t), subscription(group), records[i].take)
	}
	w.grouped(t, groups...)
	total := 0
	for range 5 {
		require.NoError(t, w.raw.FlushAll(t.Context()).Err())
		for range 3 {
			total++
			for n := range 30 {
				send(t, q, mqlaws.New(strconv.Itoa(n), int64(total)))
			}
		}
		for i := range records {
			records[i].awaitAll(t, 30*total)
		}
		w.grouped(t, groups...)
	}
	await(t, "empty queues", func() bool { return w.entries() == 0 })
}

// TestListenEnds: Listen ends soon after its context, and waits for the calls that are under way then; it begins no other.
func TestListenEnds(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, q *redis.Queues, take func(mq.Delivery) bool) (end func(), ended chan struct{}) {
		ctx, end := context.WithCancel(context.Background())
		ended = make(chan struct{})
		go func() {
			assert.NoError(t, q.Listen(ctx, mq.Subscription{Group: "a", Topic: topic, Workers: 2}, take))
			close(ended)
		}()
		t.Cleanup(end)
		return end, ended
	}
	within := func(t *testing.T, ended chan struct{}, d time.Duration) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(d):
			t.Fatal("it has not ended after ", d)
		}
	}
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		end, ended := begin(t, w.open(t), func(mq.Delivery) bool { return true })
		w.grouped(t, "a")
		await(t, "an owner", func() bool { return len(w.shares("a")) == 1 })
		end()
		within(t, ended, 2*time.Second)
		assert.Zero(t, w.raw.ZCard(t.Context(), w.prefix+":members:a").Val(), "others need not wait for its lease")
	})
	t.Run("without Redis", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.Stop()
		end, ended := begin(t, w.open(t), func(mq.Delivery) bool { return true })
		end()
		within(t, ended, 2*time.Second)
	})
	t.Run("Redis hangs", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		end, ended := begin(t, w.open(t), func(mq.Delivery) bool { return true })
		w.grouped(t, "a")
		await(t, "an owner", func() bool { return len(w.shares("a")) == 1 })
		w.Freeze(t)
		end()
		within(t, ended, 4*time.Second) // a wait and the time for its answer, and once more the time for an answer
	})
	t.Run("calls under way", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		q := w.open(t)
		var calls atomic.Int64
		let := make(chan struct{})
		end, ended := begin(t, q, func(mq.Delivery) bool { calls.Add(1); <-let; return true })
		w.grouped(t, "a")
		sendAll(t, q, 20, 20)
		await(t, "two calls", func() bool { return calls.Load() == 2 })
		end()
		select {
		case <-ended:
			t.Fatal("it has not waited for the calls")
		case <-time.After(1500 * time.Millisecond): // longer than the lease
		}
		close(let)
		within(t, ended, 2*time.Second)
		assert.EqualValues(t, 2, calls.Load(), "it has begun others after its end")
		var left atomic.Int64
		listen(t, q, subscription("a"), func(mq.Delivery) bool { left.Add(1); return true })
		await(t, "what is left", func() bool { return w.entries() == 0 })
		assert.GreaterOrEqual(t, left.Load(), int64(398))
	})
}

// TestTailShowsOnlyWhatIsTaken: an event that Redis does not take is not shown.
func TestTailShowsOnlyWhatIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t, func(cfg *redis.Config) { cfg.ShardBytes = 1 << 16 })
	shown := make(chan mq.Event, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- q.Tail(ctx, mq.View{Topic: topic}, func(_ context.Context, e mq.Event) { shown <- e })
	}()
	await(t, "somebody looks", func() bool {
		return w.raw.PubSubNumSub(t.Context(), w.prefix+":tail:"+topic).Val()[w.prefix+":tail:"+topic] == 1
	})
	n, _ := fill(t, q, func(int) string { return "s" }, 10_000)
	require.ErrorIs(t, q.SendIn(t.Context(), 7, topic, mqlaws.New("stale", 1), time.Time{}), redis.ErrStale)
	require.ErrorIs(t, q.Send(t.Context(), topic, mqlaws.New("later", 1), time.Now().Add(time.Hour)), mq.ErrHeld)
	send(t, q, mqlaws.New("last", 1))
	for i := range n {
		assert.EqualValues(t, i+1, (<-shown).Sequence)
	}
	assert.Equal(t, "last", (<-shown).Subject)
	cancel()
	require.NoError(t, <-ended)
}
