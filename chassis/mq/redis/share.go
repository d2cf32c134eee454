package redis

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// makeGroups makes the group one of every queue.
func (l *listener) makeGroups(ctx context.Context) error {
	keys := make([]string, 0, l.cfg.Shards+1)
	for shard := range l.cfg.Shards {
		keys = append(keys, l.stream(shard))
	}
	keys = append(keys, l.key("young"))
	err := groupsScript.Run(ctx, l.rdb, keys, l.s.Group, (l.cfg.Lease + longestPause + longestBlock).Milliseconds()).Err()
	l.grouped = err == nil
	return errAway(err)
}

// share renews the lease, and finds out which queues are this instance's.
func (l *listener) share(ctx context.Context) error {
	args := []any{l.instance, l.cfg.Lease.Milliseconds(), l.cfg.Shards, l.leaving}
	busy := slices.Sorted(maps.Keys(l.busy))
	slices.SortStableFunc(busy, func(a, b int) int { // those that it is to leave stay the same
		return cmp.Compare(slices.Index(l.mine, b), slices.Index(l.mine, a))
	})
	for _, shard := range busy {
		args = append(args, shard)
	}
	keys := []string{l.members(l.s.Group), l.owners(l.s.Group), l.key("leaving:" + l.s.Group)}
	reply, err := shareScript.Run(ctx, l.rdb, keys, args...).StringSlice()
	if err != nil {
		return errAway(err)
	}
	l.renew = time.Now().Add(l.cfg.Lease / 3)
	had := l.mine
	l.mine = make([]int, 0, len(reply))
	for _, text := range reply {
		shard, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no queue", text)
		}
		l.mine = append(l.mine, shard)
		// Its owner before may have read what it did not settle, also later, and this one what was not answered.
		l.fresh[shard] = true
		if !slices.Contains(had, shard) {
			l.late[shard] = true
		}
	}
	return l.deleteLate(ctx)
}

// deleteLate deletes what all groups have settled and could not be deleted before.
func (l *listener) deleteLate(ctx context.Context) error {
	for shard := range l.late {
		late, err := l.settle(ctx, shard, []any{l.s.Group})
		if err != nil {
			return err
		}
		if late {
			return nil // it holds for all of them
		}
		delete(l.late, shard)
	}
	return nil
}

// leave waits for the work that is under way, while others take the queues without any at once. It keeps its lease for that time.
func (l *listener) leave(ctx context.Context) {
	l.leaving, l.renew = true, time.Time{}
	for len(l.busy) > 0 {
		l.collect()
		if time.Now().After(l.renew) {
			l.renew = time.Now().Add(l.cfg.Lease / 3)
			_ = l.share(ctx) // it is tried again
		}
		if len(l.busy) > 0 {
			select {
			case w := <-l.ended:
				l.end(w)
			case <-time.After(time.Until(l.renew)):
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	_, _ = l.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error { // without it the lease runs out
		p.ZRem(ctx, l.members(l.s.Group), l.instance)
		p.ZRem(ctx, l.key("leaving:"+l.s.Group), l.instance)
		return nil
	})
}
