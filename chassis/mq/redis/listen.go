package redis

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq"
)

const (
	// consumer is the name of all instances in a queue's group: who has the queue goes on with what the one before had read.
	consumer = "owner"
	batch    = 32
	// longestBlock bounds one wait for entries, so that Listen ends in time and the lease is renewed.
	longestBlock = time.Second
	// busyBlock is that wait while some queues are being worked on, and cannot be waited at.
	busyBlock = 30 * time.Millisecond
)

// Listen implements mq.Transport. A queue is read by the instance of the group that has it; a failure stops that queue for that group only.
func (q *Queues) Listen(ctx context.Context, s mq.Subscription, take func(mq.Delivery) bool) error {
	if _, err := s.Wants(mq.Event{}); err != nil {
		return fmt.Errorf("mq: group %s: %w", s.Group, err)
	}
	l := &listener{Queues: q, s: s, take: take, instance: mq.NewID(), slots: make(chan struct{}, max(s.Workers, 1)),
		ended: make(chan worked, q.cfg.Shards), busy: map[int]bool{}, fresh: map[int]bool{}}
	for n := 0; ctx.Err() == nil; {
		err := l.step(ctx)
		if err == nil {
			n = 0
			continue
		}
		if n++; n == 1 {
			slog.DebugContext(ctx, "consume: the queues in Redis cannot be read", "group", s.Group, "err", err)
		}
		backoff.Sleep(ctx, backoff.Pause(n, 50*time.Millisecond, time.Second))
	}
	for len(l.busy) > 0 {
		l.end(<-l.ended)
	}
	l.leave()
	return nil
}

// listener is one instance of a group. Only the goroutine of Listen uses its maps.
type listener struct {
	*Queues
	s        mq.Subscription
	take     func(mq.Delivery) bool
	instance string
	slots    chan struct{}

	grouped bool // the group is one of every queue
	renew   time.Time
	mine    []int
	fresh   map[int]bool // queues in which there may be entries that were read and not settled
	busy    map[int]bool // queues that are being worked on
	ended   chan worked
}

// worked is a queue on which the work has ended, and whether all was settled.
type worked struct {
	shard   int
	settled bool
}

func (l *listener) end(w worked) {
	delete(l.busy, w.shard)
	if !w.settled {
		l.fresh[w.shard] = true
	}
}

// step reads once from the queues that are this instance's and not being worked on.
func (l *listener) step(ctx context.Context) error {
	for more := true; more; {
		select {
		case w := <-l.ended:
			l.end(w)
		default:
			more = false
		}
	}
	if !l.grouped {
		if err := l.makeGroups(ctx); err != nil {
			return err
		}
	}
	if time.Now().After(l.renew) {
		if err := l.share(ctx); err != nil {
			return err
		}
	}
	free := slices.DeleteFunc(slices.Clone(l.mine), func(shard int) bool { return l.busy[shard] })
	if len(free) == 0 {
		select {
		case w := <-l.ended:
			l.end(w)
		case <-ctx.Done():
		case <-time.After(time.Until(l.renew)):
		}
		return nil
	}
	return l.read(ctx, free)
}

func (l *listener) makeGroups(ctx context.Context) error {
	keys := make([]string, l.cfg.Shards)
	for shard := range keys {
		keys[shard] = l.stream(shard)
	}
	err := groupsScript.Run(ctx, l.rdb, keys, l.s.Group).Err()
	l.grouped = err == nil
	return errAway(err)
}

// share renews the lease, and finds out which queues are this instance's.
func (l *listener) share(ctx context.Context) error {
	args := []any{l.instance, l.cfg.Lease.Milliseconds(), l.cfg.Shards}
	for shard := range l.busy {
		args = append(args, shard)
	}
	reply, err := shareScript.Run(ctx, l.rdb, []string{l.members(l.s.Group), l.owners(l.s.Group)}, args...).StringSlice()
	if err != nil {
		return errAway(err)
	}
	l.renew = time.Now().Add(l.cfg.Lease / 3)
	had := l.mine
	l.mine = make([]int, 0, len(reply))
	for _, text := range reply {
		shard, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("redis: %q is no queue", text)
		}
		l.mine = append(l.mine, shard)
		if !slices.Contains(had, shard) {
			l.fresh[shard] = true // its owner before may have read what it did not settle
		}
	}
	return nil
}

// read reads a batch from each of shards, waits for entries if there are none, and begins to work on what came.
func (l *listener) read(ctx context.Context, shards []int) error {
	wait := longestBlock
	if len(l.busy) > 0 {
		wait = busyBlock
	}
	byKey, ids := map[string]int{}, make([]string, len(shards))
	keys := make([]string, len(shards))
	for i, shard := range shards {
		keys[i], ids[i] = l.stream(shard), ">"
		byKey[keys[i]] = shard
		if l.fresh[shard] {
			ids[i] = "0" // what was read before; such a call does not wait
		}
	}
	reply, err := l.rdb.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: l.s.Group, Consumer: consumer, Streams: append(keys, ids...),
		Count: batch, Block: min(wait, max(time.Until(l.renew), time.Millisecond))}).Result()
	switch {
	case err == goredis.Nil:
		return nil
	case err != nil:
		for _, shard := range shards {
			l.fresh[shard] = true // the answer may have been lost
		}
		if goredis.HasErrorPrefix(err, "NOGROUP") { // Redis has lost its data
			l.grouped, l.renew = false, time.Time{}
			return nil
		}
		return errAway(err)
	}
	came := map[int]bool{}
	for _, queue := range reply {
		if shard := byKey[queue.Stream]; len(queue.Messages) > 0 {
			came[shard] = true
			l.busy[shard] = true
			go func() { l.ended <- worked{shard, l.work(context.WithoutCancel(ctx), shard, queue.Messages)} }()
		}
	}
	for _, shard := range shards {
		if l.fresh[shard] && !came[shard] {
			delete(l.fresh, shard) // nothing was left
		}
	}
	return nil
}

// work takes the entries of one queue, and settles them if all are done.
func (l *listener) work(ctx context.Context, shard int, entries []goredis.XMessage) bool {
	var (
		ours []mq.Delivery
		args = []any{l.s.Group}
	)
	for _, entry := range entries {
		args = append(args, entry.ID)
		topic, _ := entry.Values["t"].(string)
		body, _ := entry.Values["e"].(string)
		if topic != l.s.Topic {
			continue
		}
		d := mq.Received(entry.ID, []byte(body))
		if wanted, _ := l.s.Wants(d.Event); d.Broken != nil || wanted { // no error: Listen has tried the filter
			ours = append(ours, d)
		}
	}
	if !mq.TakeAll(ours, l.slots, l.take) {
		return false
	}
	err := settleScript.Run(ctx, l.rdb, []string{l.stream(shard)}, args...).Err()
	if err != nil {
		slog.DebugContext(ctx, "consume: entries were not settled and come again", "group", l.s.Group, "queue", shard, "err", err)
	}
	return err == nil
}

// leave ends this instance's lease: others take its queues at once.
func (l *listener) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.Timeout)
	defer cancel()
	_ = l.rdb.ZRem(ctx, l.members(l.s.Group), l.instance).Err() // without it the lease runs out
}
