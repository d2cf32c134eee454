package redis

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Backlog is what lies in the queues.
type Backlog struct {
	// Now is Redis' time.
	Now time.Time
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
	// Oldest is when the first of them was sent, zero when there is none.
	Oldest time.Time
	// Instances is how many of the group's instances are heard of.
	Instances int64
}

// Waiting returns how many entries groups that have an instance have not settled, and when the first of these was sent.
func (b Backlog) Waiting() (n int64, oldest time.Time) {
	for _, g := range b.Groups {
		if g.Instances > 0 && g.Entries > 0 {
			n, oldest = n+g.Entries, earlier(oldest, g.Oldest)
		}
	}
	return n, oldest
}

// earlier returns the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Of returns how many entries group has not settled.
func (b Backlog) Of(group string) int64 {
	i := slices.IndexFunc(b.Groups, func(g GroupBacklog) bool { return g.Group == group })
	if i < 0 {
		return 0
	}
	return b.Groups[i].Entries
}

// unknownLag is how many entries are counted at most where Redis does not know how many a group has not read.
const unknownLag = 100

// OldestOf returns when the first of the entries was sent that group has not settled, zero when there is none.
func (b Backlog) OldestOf(group string) time.Time {
	i := slices.IndexFunc(b.Groups, func(g GroupBacklog) bool { return g.Group == group })
	if i < 0 {
		return time.Time{}
	}
	return b.Groups[i].Oldest
}

// Backlog counts what lies in the queues but those of except. It does not look at all at the same moment. Any error is an mq.ErrUnavailable.
func (q *Queues) Backlog(ctx context.Context, except ...int) (b Backlog, err error) {
	now, err := q.now(ctx)
	if err != nil {
		return b, err
	}
	b.Now = now
	lengths := make([]*goredis.IntCmd, q.cfg.Shards)
	err = q.pipelined(ctx, func(p goredis.Pipeliner) {
		for shard := range lengths {
			lengths[shard] = p.XLen(ctx, q.stream(shard))
		}
	})
	if err != nil {
		return b, err
	}
	lines := map[int]*shardLine{}
	err = q.pipelined(ctx, func(p goredis.Pipeliner) {
		for shard, length := range lengths {
			counts := !slices.Contains(except, shard)
			if shard == 0 || counts && length.Val() > 0 { // every queue has all groups: the first one is looked at for them
				lines[shard] = &shardLine{counts, p.XRangeN(ctx, q.stream(shard), "-", "+", 1), p.XInfoGroups(ctx, q.stream(shard))}
			}
		}
	})
	if err != nil {
		return b, err
	}
	groups := map[string]*GroupBacklog{}
	var look []func() // at the answers of the next pipeline
	err = q.pipelined(ctx, func(p goredis.Pipeliner) {
		for _, shard := range slices.Sorted(maps.Keys(lines)) {
			l := lines[shard]
			if entries := l.first.Val(); l.counts && len(entries) > 0 {
				one := ShardBacklog{shard, lengths[shard].Val(), sentAt(entries[0].ID)}
				b.Shards = append(b.Shards, one)
				b.Entries, b.Oldest = b.Entries+one.Entries, earlier(b.Oldest, one.Oldest)
			}
			for _, g := range l.groups.Val() {
				if groups[g.Name] == nil {
					groups[g.Name] = &GroupBacklog{Group: g.Name}
				}
				if l.counts {
					look = append(look, unsettled(ctx, p, q.stream(shard), g, groups[g.Name])...)
				}
			}
		}
		for name, g := range groups {
			n := p.ZCount(ctx, q.members(name), "("+strconv.FormatInt(now.UnixMilli(), 10), "+inf")
			look = append(look, func() { g.Instances = n.Val() })
		}
	})
	if err != nil {
		return b, err
	}
	for _, f := range look {
		f()
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		b.Groups = append(b.Groups, *groups[name])
	}
	return b, nil
}

// shardLine is what a queue answered.
type shardLine struct {
	counts bool
	first  *goredis.XMessageSliceCmd
	groups *goredis.XInfoGroupsCmd
}

// unsettled asks p for what g has not read or not acknowledged of a queue, and returns what adds the answers to sum.
func unsettled(ctx context.Context, p goredis.Pipeliner, queue string, g goredis.XInfoGroup, sum *GroupBacklog) (look []func()) {
	sum.Entries += g.Pending + max(g.Lag, 0)
	if g.Pending > 0 {
		pending := p.XPending(ctx, queue, g.Name)
		look = append(look, func() {
			if first := pending.Val(); first != nil && first.Count > 0 {
				sum.Oldest = earlier(sum.Oldest, sentAt(first.Lower))
			}
		})
	}
	if g.Lag == 0 {
		return look
	}
	count := int64(1)
	if g.Lag < 0 {
		count = unknownLag
	}
	unread := p.XRangeN(ctx, queue, "("+g.LastDeliveredID, "+", count)
	return append(look, func() {
		entries := unread.Val()
		if g.Lag < 0 {
			sum.Entries += int64(len(entries))
		}
		if len(entries) > 0 {
			sum.Oldest = earlier(sum.Oldest, sentAt(entries[0].ID))
		}
	})
}

// pipelined sends what ask asks for in one go. A queue that is not there is no error.
func (q *Queues) pipelined(ctx context.Context, ask func(goredis.Pipeliner)) error {
	_, err := q.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error { ask(p); return nil })
	if err != nil && (strings.Contains(err.Error(), "no such key") || strings.Contains(err.Error(), "NOGROUP")) {
		err = nil
	}
	return errAway(err)
}

// sentAt returns when the entry id was sent.
func sentAt(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	return millis(ms)
}
