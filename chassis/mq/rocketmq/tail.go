package rocketmq

import (
	"context"
	"log/slog"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq"
)

// tailEvery is how often the ends of the queues are read. The client could wait there for the next message, but not at several queues at the
// same time: it is not safe for that.
const tailEvery = 200 * time.Millisecond

// unwatchedEvery is how often they are read while nobody watches. It bounds how old the first events are that a new watcher is shown.
const unwatchedEvery = 10 * tailEvery

// Tail implements mq.Transport. It polls the end of each queue.
func (b *Broker) Tail(ctx context.Context, v mq.View, f func(context.Context, mq.Event)) error {
	r, err := b.reader(ctx, v.Topic)
	if r == nil {
		return err
	}
	defer r.close()
	next := make([]int64, len(r.queues)) // by queue: where to continue, -1 when not known yet
	for i := range next {
		next[i] = -1
	}
	moved := b.master.change()
	for n := 0; ctx.Err() == nil; {
		select {
		case <-moved:
			moved = b.master.change()
			_ = r.consumer.Start() // only asks for the route
		default:
		}
		var failed error
		for i := range r.queues {
			if err := r.tail(ctx, i, &next[i], v.Types, f); err != nil {
				failed = err
			}
		}
		if failed == nil {
			n = 0
			awaitWatcher(ctx, v.Watched)
			continue
		}
		n++
		slog.DebugContext(ctx, "tail: read", "topic", v.Topic, "err", failed)
		backoff.Sleep(ctx, backoff.Pause(n, tailEvery, 2*time.Second))
	}
	return nil
}

// awaitWatcher waits for tailEvery, and then until somebody watches, at most for unwatchedEvery.
func awaitWatcher(ctx context.Context, watched func() bool) {
	for waited := time.Duration(0); waited < unwatchedEvery && ctx.Err() == nil; waited += tailEvery {
		backoff.Sleep(ctx, tailEvery)
		if watched == nil || watched() {
			return
		}
	}
}

// tail reads what has come to queue i since the last time, and moves next.
func (r *reader) tail(ctx context.Context, i int, next *int64, types []string, f func(context.Context, mq.Event)) error {
	last, err := r.end(r.queues[i])
	if err != nil {
		return err
	}
	if *next < 0 || *next > last { // the first time, or the broker has lost what it had
		*next = last
	}
	for *next < last && ctx.Err() == nil {
		ms, after, err := r.pull(ctx, r.queues[i], *next)
		if err != nil {
			return err
		}
		*next = after
		for _, m := range ms {
			d := mq.Received(m.MsgId, m.Body)
			if d.Broken == nil && d.Event.OneOf(types) && ctx.Err() == nil {
				f(ctx, d.Event)
			}
		}
	}
	return nil
}
