package redis_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
)

// TestFull: a full Redis holds events off and loses none. What empties it needs no memory: not even for a new instance, a group that is made
// anew, or scripts that Redis does not know.
func TestFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
	q := w.open(t)
	others := subscription("other")
	others.Topic = "others"
	for _, s := range []mq.Subscription{subscription("a"), subscription("b"), others} {
		w.away(t, q, s)
	}
	n, held := fill(t, q, func(n int) string { return strconv.Itoa(n % 300) }, 4000)
	require.ErrorContains(t, held, "Redis is full")
	require.Greater(t, n, 500)
	require.EqualValues(t, n, w.entries())

	require.NoError(t, w.raw.ConfigSet(t.Context(), "maxmemory", "100kb").Err()) // it is full whatever is taken out of it
	require.NoError(t, w.raw.ScriptFlush(t.Context()).Err())
	require.NoError(t, w.raw.XGroupDestroy(t.Context(), w.queue(17), "b").Err())
	var a, b record
	listen(t, w.open(t), subscription("a"), a.take)
	listen(t, w.open(t), others, func(mq.Delivery) bool { return assert.Fail(t, "an event of another topic") })
	a.awaitAll(t, n)
	require.EqualValues(t, n, w.entries(), "b has settled nothing")
	listen(t, w.open(t), subscription("b"), b.take)
	b.awaitAll(t, n)
	await(t, "empty queues", func() bool { return w.entries() == 0 })
	require.ErrorContains(t, q.Send(t.Context(), topic, mqlaws.New("last", 1), time.Time{}), "Redis is full")

	require.NoError(t, w.raw.ConfigSet(t.Context(), "maxmemory", "8mb").Err())
	send(t, q, mqlaws.New("last", 1))
	a.awaitAll(t, n+1)
	b.awaitAll(t, n+1)
}

// TestQueueFull: a queue has its bound. What lies in others is not concerned, and when there is room it goes on.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t, func(cfg *redis.Config) { cfg.ShardBytes = 1 << 16 })
	n, held := fill(t, q, func(int) string { return "s" }, 500)
	require.ErrorContains(t, held, fmt.Sprintf("queue %d has 65536 bytes", q.ShardOf(mqlaws.New("s", 1))))
	assert.InDelta(t, 1<<16, n*800, 1<<15)
	shard := q.ShardOf(mqlaws.New("s", 1))
	for i := range 100 {
		if e := mqlaws.New(strconv.Itoa(i), 1); q.ShardOf(e) != shard {
			send(t, q, e)
		} else {
			require.ErrorIs(t, q.Send(t.Context(), topic, e, time.Time{}), mq.ErrHeld)
		}
	}
	var r record
	listen(t, q, subscription("a"), r.take)
	await(t, "empty queues", func() bool { return w.entries() == 0 })
	had := r.events()
	send(t, q, mqlaws.New("s", int64(n+1)))
	r.awaitAll(t, had+1)
}

// TestRestart: what Redis has said it has is there after a kill, and consumers go on by themselves.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--appendonly", "yes", "--appendfsync", "always")
	q := w.open(t)
	var a, b record
	let := make(chan struct{})
	listen(t, q, subscription("a"), a.take)
	listen(t, q, subscription("b"), func(d mq.Delivery) bool { <-let; return b.take(d) })
	w.grouped(t, "a", "b")
	sendAll(t, q, 20, 10)
	a.awaitAll(t, 200)
	await(t, "b has read some", func() bool { return w.pending("b") > 0 })

	w.Stop()
	require.ErrorIs(t, q.Send(t.Context(), topic, mqlaws.New("0", 11), time.Time{}), mq.ErrUnavailable)
	w.Restart(t)
	assert.EqualValues(t, 200, w.entries())
	send(t, q, mqlaws.New("0", 11))
	a.awaitAll(t, 201)
	close(let)
	b.awaitAll(t, 201)
	await(t, "empty queues", func() bool { return w.entries() == 0 })
}

// TestSpread: no queue has more than three times its share of many subjects, and an event without one is spread by its id.
func TestSpread(t *testing.T) {
	t.Parallel()
	counts := make([]int, 100)
	for range 10_000 {
		counts[mq.Spread(mq.NewID(), "", len(counts))]++
	}
	most := 0
	for _, n := range counts {
		most = max(most, n)
	}
	t.Logf("the fullest of 100 queues has %d of 10,000 subjects: %.2f times its share", most, float64(most)/100)
	assert.LessOrEqual(t, most, 300)

	assert.Equal(t, mq.Spread("x", "", 100), mq.Spread("", "x", 100))
	assert.Equal(t, mq.Spread("x", "1", 100), mq.Spread("x", "2", 100))
	assert.Equal(t, 0xe40c292c%100, mq.Spread("a", "", 100), "FNV-1a, which does not change from one release to the next")
}
