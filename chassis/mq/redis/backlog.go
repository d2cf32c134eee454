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
		counts := !slices.Contains(except, shard)
		if shard != 0 && (!counts || length.Val() == 0) {
			continue
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
		if entries := first.Val(); counts && len(entries) > 0 {
			one := ShardBacklog{shard, length.Val(), sentAt(entries[0].ID)}
			b.Shards = append(b.Shards, one)
			if b.Entries += one.Entries; b.Oldest.IsZero() || one.Oldest.Before(b.Oldest) {
				b.Oldest = one.Oldest
			}
		}
		for _, g := range groups.Val() {
			if !counts {
				waiting[g.Name] += 0 // every queue has all groups: this one is looked at for them
				continue
			}
			n, err := q.unsettled(ctx, shard, g)
			if err != nil {
				return b, err
			}
			waiting[g.Name] += n
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

// unsettled returns how many entries of a queue g has not read, up to a thousand, or not acknowledged. What Redis calls the lag is not known after
// entries were deleted.
func (q *Queues) unsettled(ctx context.Context, shard int, g goredis.XInfoGroup) (int64, error) {
	unread, err := q.rdb.XRangeN(ctx, q.stream(shard), "("+g.LastDeliveredID, "+", 1000).Result()
	return g.Pending + int64(len(unread)), errAway(err)
}

// sentAt returns when the entry id was sent.
func sentAt(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	return millis(ms)
}
