package redis_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
)

// TestBacklog: it says how many entries lie where, since when, and for whom: for groups without an instance nobody need wait.
func TestBacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.open(t)
	b, err := q.Backlog(t.Context())
	require.NoError(t, err)
	assert.Equal(t, redis.Backlog{Now: b.Now}, b, "nothing was ever there")

	w.away(t, q, subscription("away"))
	var r record
	let, open := make(chan struct{}), false
	t.Cleanup(func() {
		if !open {
			close(let)
		}
	})
	for range 2 {
		listen(t, w.open(t), subscription("here"), func(d mq.Delivery) bool { <-let; return r.take(d) })
	}
	await(t, "shares", func() bool { return w.shared("here", 2) })
	b, err = q.Backlog(t.Context())
	require.NoError(t, err)
	assert.Equal(t, redis.Backlog{Now: b.Now, Groups: []redis.GroupBacklog{{Group: "away"}, {Group: "here", Instances: 2}}}, b)

	began := w.raw.Time(t.Context()).Val()
	perShard := map[int]int64{}
	sendOne := func(subject string, n int) {
		for seq := range n {
			e := mqlaws.New(subject, int64(seq+1))
			perShard[q.ShardOf(e)]++
			send(t, q, e)
		}
	}
	sendOne("first", 40)
	first := q.ShardOf(mqlaws.New("first", 1))
	await(t, "a later millisecond", func() bool { return w.raw.Time(t.Context()).Val().Sub(began) > 50*time.Millisecond })
	for n := range 20 {
		sendOne(strconv.Itoa(n), 3)
	}
	await(t, "some are read", func() bool { return w.pending("here") >= 10 })
	b, err = q.Backlog(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 100, b.Entries)
	assert.WithinDuration(t, began, b.Oldest, 40*time.Millisecond)
	got := map[int]int64{}
	for _, one := range b.Shards {
		got[one.Shard] = one.Entries
		assert.Equal(t, one.Shard == first, one.Oldest.Equal(b.Oldest))
	}
	assert.Equal(t, perShard, got)
	for _, g := range b.Groups {
		assert.True(t, g.Oldest.Equal(b.Oldest), g.Group)
	}
	assert.Equal(t, []redis.GroupBacklog{{"away", 100, b.Groups[0].Oldest, 0}, {"here", 100, b.Groups[1].Oldest, 2}}, b.Groups)
	assert.EqualValues(t, 100, waiting(b))
	assert.EqualValues(t, 100, b.Of("away"))
	assert.Zero(t, b.Of("nobody"))

	b, err = q.Backlog(t.Context(), first)
	require.NoError(t, err)
	assert.EqualValues(t, 100-perShard[first], b.Entries)
	assert.EqualValues(t, 100-perShard[first], waiting(b))
	assert.True(t, b.Oldest.After(began.Add(40*time.Millisecond)))
	all := make([]int, q.Shards())
	for shard := range all {
		all[shard] = shard
	}
	b, err = q.Backlog(t.Context(), all...)
	require.NoError(t, err)
	assert.Equal(t, redis.Backlog{Now: b.Now, Groups: []redis.GroupBacklog{{Group: "away"}, {Group: "here", Instances: 2}}}, b, "groups are named all the same")

	close(let)
	open = true
	r.awaitAll(t, 100)
	await(t, "here has settled all", func() bool { return w.pending("here") == 0 })
	b, err = q.Backlog(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 100, b.Entries)
	assert.EqualValues(t, 0, waiting(b), "nobody waits for the group that is away")
	assert.EqualValues(t, 100, b.Of("away"))

	w.Stop()
	_, err = q.Backlog(t.Context())
	assert.ErrorIs(t, err, mq.ErrUnavailable)
}

func waiting(b redis.Backlog) int64 { n, _ := b.Waiting(); return n }
