package redis

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Backlog is what lies in the queues.
type Backlog struct {
	// Entries is how many there are, and Oldest when the first of them was sent; zero when there is none.
	Entries int64
	Oldest  time.Time
	// Shards are the queues that are not empty.
	Shards []ShardBacklog
	// Groups are all consumer groups, by name.
	Groups []GroupBacklog

	oldest map[string]time.Time // that a group has not settled
}

// ShardBacklog is what lies in one queue.
type ShardBacklog struct {
	Shard   int
	Entries int64
	Oldest  time.Time
}

// GroupBacklog is what one group has not settled.
type GroupBacklog struct {
	Group   string
	Entries int64
	// Instances is how many of the group's instances are heard of.
	Instances int64
}

// Waiting returns how many entries groups that have an instance have not settled.
func (b Backlog) Waiting() (n int64) {
	for _, g := range b.Groups {
		if g.Instances > 0 {
			n += g.Entries
		}
	}
	return n
}

// Of returns how many entries group has not settled.
func (b Backlog) Of(group string) int64 {
	i := slices.IndexFunc(b.Groups, func(g GroupBacklog) bool { return g.Group == group })
	if i < 0 {
		return 0
	}
	return b.Groups[i].Entries
}

// OldestOf returns when the first of the entries was sent that group has not settled, zero when there is none.
func (b Backlog) OldestOf(group string) time.Time { return b.oldest[group] }

// Backlog counts what lies in the queues but those of except. It does not look at all at the same moment. Any error is an mq.ErrUnavailable.
func (q *Queues) Backlog(ctx context.Context, except ...int) (b Backlog, err error) {
	now, err := q.now(ctx)
	if err != nil {
		return b, err
	}
	lengths := make([]*goredis.IntCmd, q.cfg.Shards)
	if _, err := q.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for shard := range lengths {
			lengths[shard] = p.XLen(ctx, q.stream(shard))
		}
		return nil
	}); err != nil {
		return b, errAway(err)
	}
	waiting := map[string]int64{}
	for shard, length := range lengths {
		if slices.Contains(except, shard) || length.Val() == 0 && shard != 0 {
			continue // an empty queue still has all groups, and is looked at for them
		}
		var (
			first  *goredis.XMessageSliceCmd
			groups *goredis.XInfoGroupsCmd
		)
		_, err := q.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
			first, groups = p.XRangeN(ctx, q.stream(shard), "-", "+", 1), p.XInfoGroups(ctx, q.stream(shard))
			return nil
		})
		if err != nil && !strings.Contains(err.Error(), "no such key") {
			return b, errAway(err)
		}
		if entries := first.Val(); len(entries) > 0 {
			one := ShardBacklog{shard, length.Val(), sentAt(entries[0].ID)}
			b.Shards = append(b.Shards, one)
			if b.Entries += one.Entries; b.Oldest.IsZero() || one.Oldest.Before(b.Oldest) {
				b.Oldest = one.Oldest
			}
		}
		for _, g := range groups.Val() {
			n, since, err := q.unsettled(ctx, shard, g)
			if err != nil {
				return b, err
			}
			waiting[g.Name] += n
			b.reach(g.Name, since)
		}
	}
	for group, n := range waiting {
		instances, err := q.rdb.ZCount(ctx, q.members(group), "("+strconv.FormatInt(now.UnixMilli(), 10), "+inf").Result()
		if err != nil {
			return b, errAway(err)
		}
		b.Groups = append(b.Groups, GroupBacklog{group, n, instances})
	}
	slices.SortFunc(b.Groups, func(a, b GroupBacklog) int { return cmp.Compare(a.Group, b.Group) })
	return b, nil
}

// reach notes that group has not settled what was sent then, zero for nothing.
func (b *Backlog) reach(group string, sent time.Time) {
	if was := b.oldest[group]; sent.IsZero() || !was.IsZero() && was.Before(sent) {
		return
	}
	if b.oldest == nil {
		b.oldest = map[string]time.Time{}
	}
	b.oldest[group] = sent
}

// unsettled returns how many entries of a queue g has not read, up to a thousand, or not acknowledged, and when the first of them was sent. What
// Redis calls the lag is not known after entries were deleted.
func (q *Queues) unsettled(ctx context.Context, shard int, g goredis.XInfoGroup) (n int64, since time.Time, err error) {
	var (
		unread  *goredis.XMessageSliceCmd
		pending *goredis.XPendingCmd
	)
	if _, err := q.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		unread = p.XRangeN(ctx, q.stream(shard), "("+g.LastDeliveredID, "+", 1000)
		pending = p.XPending(ctx, q.stream(shard), g.Name)
		return nil
	}); err != nil {
		return 0, since, errAway(err)
	}
	if entries := unread.Val(); len(entries) > 0 {
		since = sentAt(entries[0].ID)
	}
	if pending.Val().Count > 0 {
		since = sentAt(pending.Val().Lower) // read, so it was sent before what is not
	}
	return pending.Val().Count + int64(len(unread.Val())), since, nil
}

// sentAt returns when the entry id was sent.
func sentAt(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	return millis(ms)
}
