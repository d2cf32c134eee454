package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// busyBlock is that wait while some queues are being worked on, and cannot be waited at. Redis ends waits ten times a second.
	busyBlock = 30 * time.Millisecond
	// answer is how long the entries themselves may take to come.
	answer = time.Second
	// firstPause and longestPause are those before what failed is tried again.
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// Listen implements mq.Transport. A queue is read by the instance of the group that has it; a failure stops that queue for that group only.
func (q *Queues) Listen(ctx context.Context, s mq.Subscription, take func(mq.Delivery) bool) error {
	if _, err := s.Wants(mq.Event{}); err != nil {
		return fmt.Errorf("mq: group %s: %w", s.Group, err)
	}
	l := &listener{Queues: q, s: s, instance: mq.NewID(), slots: make(chan struct{}, max(s.Workers, 1)), ended: make(chan worked, q.cfg.Shards),
		busy: map[int]bool{}, fresh: map[int]bool{}, late: map[int]bool{}, failed: map[int]int{}}
	l.take = func(d mq.Delivery) bool { return ctx.Err() == nil && take(d) } // what is not begun is left to the others
	for n := 0; ctx.Err() == nil; {
		err := l.step(ctx)
		if err == nil {
			n = 0
			continue
		}
		if n++; n == 1 {
			slog.DebugContext(ctx, "consume: the queues in Redis cannot be read", "group", s.Group, "err", err)
		}
		backoff.Sleep(ctx, backoff.Pause(n, firstPause, longestPause))
	}
	l.leave(context.WithoutCancel(ctx))
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
	leaving bool
	renew   time.Time
	mine    []int
	fresh   map[int]bool // queues in which there may be entries that were read and not settled
	busy    map[int]bool // queues that are being worked on
	late    map[int]bool // queues in which there may be entries that all have settled
	failed  map[int]int  // how often the work on a queue has failed, since it last did not
	halved  int          // how often the batch is halved, because answers did not come in time
	ended   chan worked
}

// worked is a queue on which the work has ended, whether all was settled, and whether it could not be deleted yet.
type worked struct {
	shard         int
	settled, late bool
}

func (l *listener) end(w worked) {
	delete(l.busy, w.shard)
	if w.settled {
		delete(l.failed, w.shard)
	} else {
		l.fresh[w.shard] = true
		l.failed[w.shard]++
	}
	if w.late {
		l.late[w.shard] = true
	}
	if !slices.Contains(l.mine, w.shard) {
		l.renew = time.Time{} // another instance waits for it
	}
}

// collect takes note of all work that has ended.
func (l *listener) collect() {
	for {
		select {
		case w := <-l.ended:
			l.end(w)
		default:
			return
		}
	}
}

// step reads once from the queues that are this instance's and not being worked on.
func (l *listener) step(ctx context.Context) error {
	l.collect()
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

// read reads a batch from each of shards, waits for entries if there are none, and begins to work on what came.
func (l *listener) read(ctx context.Context, shards []int) error {
	wait := longestBlock
	if len(l.busy) > 0 {
		wait = busyBlock
	}
	byKey, streams := map[string]int{}, make([]string, 2*len(shards)) // keys, and then where to begin in each
	for i, shard := range shards {
		key, from := l.stream(shard), ">"
		if l.fresh[shard] {
			from = "0" // what was read before; such a call does not wait
		}
		streams[i], streams[len(shards)+i], byKey[key] = key, from, shard
	}
	wait = min(wait, max(time.Until(l.renew), time.Millisecond))
	bounded, cancel := context.WithTimeout(ctx, wait+answer) // the client would wait for ten seconds more
	defer cancel()
	reply, err := l.rdb.XReadGroup(bounded, &goredis.XReadGroupArgs{Group: l.s.Group, Consumer: consumer, Streams: streams,
		Count: int64(max(batch>>l.halved, 1)), Block: wait}).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return nil
	case err != nil:
		for _, shard := range shards {
			l.fresh[shard] = true // the answer may have been lost
		}
		if goredis.HasErrorPrefix(err, "NOGROUP") { // Redis has lost its data
			l.grouped, l.renew = false, time.Time{}
			return nil
		}
		l.halved = min(l.halved+1, 5)
		return errAway(err)
	}
	l.halved = max(l.halved-1, 0)
	came := map[int]bool{}
	for _, queue := range reply {
		if shard := byKey[queue.Stream]; len(queue.Messages) > 0 {
			came[shard] = true
			l.busy[shard] = true
			failed, goOn, until := l.failed[shard], !l.fresh[shard], l.renew
			go func() {
				w := l.work(context.WithoutCancel(ctx), shard, queue.Messages)
				for n := len(queue.Messages); goOn && n >= batch && w.settled && ctx.Err() == nil && time.Now().Before(until); {
					n, w = l.workOn(context.WithoutCancel(ctx), w)
				}
				if !w.settled {
					backoff.Sleep(ctx, backoff.Pause(failed+1, firstPause, longestPause))
				}
				l.ended <- w
			}()
		}
	}
	for _, shard := range shards {
		if l.fresh[shard] && !came[shard] {
			delete(l.fresh, shard) // nothing was left
		}
	}
	return nil
}

// workOn reads the next batch of a queue of which the last was settled, and works on it, while Listen waits at other queues. It returns how many
// entries came.
func (l *listener) workOn(ctx context.Context, last worked) (int, worked) {
	reply, err := l.rdb.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: l.s.Group, Consumer: consumer, Streams: []string{l.stream(last.shard), ">"},
		Count: batch, Block: -1}).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return 0, last
	case err != nil:
		return 0, worked{shard: last.shard, late: last.late} // as if it had failed: the answer may have been lost
	}
	w := l.work(ctx, last.shard, reply[0].Messages)
	w.late = w.late || last.late
	return len(reply[0].Messages), w
}

// work takes the entries of one queue, and settles them if all are done.
func (l *listener) work(ctx context.Context, shard int, entries []goredis.XMessage) worked {
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
		return worked{shard: shard}
	}
	late, err := l.settle(ctx, shard, args)
	if err != nil {
		slog.DebugContext(ctx, "consume: entries were not settled and come again", "group", l.s.Group, "queue", shard, "err", err)
	}
	return worked{shard, err == nil, late}
}

// settle runs settle.lua. It reports whether what all groups have settled was not deleted yet.
func (l *listener) settle(ctx context.Context, shard int, args []any) (late bool, err error) {
	n, err := settleScript.Run(ctx, l.rdb, []string{l.stream(shard), l.key("young")}, args...).Int()
	return n == 1, errAway(err)
}
