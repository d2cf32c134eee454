package failover

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/redis"
)

const (
	// longestView is for how long the switch is believed to be as it was last seen. A process that slept for longer looks before it sends.
	longestView = time.Second
	// poll is how often the switch is looked at when nothing tells that it was moved.
	poll = 400 * time.Millisecond
	// longestOwed is how long after a return a process that begins sends again what went by Redis.
	longestOwed = 10 * time.Minute
)

// view is what this process knows about the switch. While Redis does not answer, it is what was last known.
type view struct {
	queues *redis.Queues

	asking sync.Mutex // held while Redis is asked

	mu    sync.Mutex
	s     redis.State
	asOf  time.Time     // when Redis was asked that said so
	tried time.Time     // when Redis was last asked
	none  time.Time     // since when there is no switch, for who has never seen one
	mute  bool          // Redis did not answer the last time
	moved chan struct{} // closed when s is another epoch's
	away  time.Time     // since when events go by Redis, zero while they do not
	again []time.Time   // since when what was sent is to be sent again, for who does that
}

// known returns what is known, and whether it is fresh.
func (v *view) known() (s redis.State, fresh bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s = v.s
	if s.Epoch == 0 {
		s.Mode = redis.Normal
	}
	return s, !v.asOf.IsZero() && time.Since(v.asOf) < longestView
}

// now returns the switch as it was within the last second, or as it was last known when Redis does not answer.
func (v *view) now(ctx context.Context) redis.State {
	s, fresh := v.known()
	if fresh {
		return s
	}
	v.mu.Lock()
	asked := time.Since(v.tried) < longestView && !v.tried.IsZero()
	v.mu.Unlock()
	if !asked {
		v.refresh(ctx)
		s, _ = v.known()
	}
	return s
}

// refresh asks Redis, unless somebody has done so since the call began.
func (v *view) refresh(ctx context.Context) {
	began := time.Now()
	v.asking.Lock()
	defer v.asking.Unlock()
	v.mu.Lock()
	if v.tried.After(began) {
		v.mu.Unlock()
		return
	}
	v.tried = time.Now()
	asOf, last := v.tried, v.s
	v.mu.Unlock()
	s, err := v.queues.Look(ctx)
	v.heard(ctx, err)
	if err == nil && s.Epoch == 0 { // the first time, or Redis was emptied
		if last.Epoch == 0 {
			if !v.longNone() {
				return
			}
			last.Mode, last.Why = redis.Normal, "the first start"
		}
		if _, err = v.queues.Create(ctx, last, mq.NewID()); err == nil {
			s, err = v.queues.Look(ctx)
		}
	}
	if err != nil || s.Epoch == 0 {
		return
	}
	v.set(ctx, s, asOf)
}

// longestNone is how long who has never seen a switch leaves it to the others to make it again as it was.
const longestNone = 2 * time.Second

func (v *view) longNone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.none.IsZero() {
		v.none = time.Now()
	}
	return time.Since(v.none) > longestNone
}

// heard logs when Redis ceases to answer, and when it answers again.
func (v *view) heard(ctx context.Context, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if ctx.Err() != nil || v.mute == (err != nil) {
		return
	}
	v.mute = err != nil
	if v.mute {
		slog.WarnContext(ctx, "messages: the Redis for queues does not answer; events go as they last did, and have no other way", "err", err)
		return
	}
	slog.InfoContext(ctx, "messages: the Redis for queues answers again")
}

// set takes note of what Redis said, one answer after another.
func (v *view) set(ctx context.Context, s redis.State, asOf time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.s.Store != "" && (s.Store != v.s.Store || s.Epoch < v.s.Epoch) { // emptied, or put back to an older state
		slog.ErrorContext(ctx, "messages: Redis has lost what it held", "mode", v.s.Mode)
		if v.s.Mode != redis.Normal {
			v.again = append(v.again, v.away)
		}
	}
	switch {
	case s.Mode != redis.Normal && v.away.IsZero():
		if v.away = s.Left; v.away.IsZero() {
			v.away = s.Since
		}
		if v.s.Epoch > 0 {
			v.again = append(v.again, s.Since) // what the broker took just before may lie there
		}
	case v.s.Epoch == 0 && s.Mode == redis.Normal && !s.Left.IsZero() && s.Now.Sub(s.Since) < longestOwed:
		v.again = append(v.again, s.Left) // who knew it may have died before it was done
	case s.Mode == redis.Normal && !v.away.IsZero():
		v.again, v.away = append(v.again, v.away), time.Time{}
	}
	if s.Epoch != v.s.Epoch || s.Store != v.s.Store {
		switch {
		case s.Mode == redis.Handover || v.s.Mode == redis.Handover && s.Mode == redis.Draining: // a try to end it
		case v.s.Epoch > 0 || s.Mode != redis.Normal:
			slog.WarnContext(ctx, "messages: the mode is "+string(s.Mode), "epoch", s.Epoch, "why", s.Why, "by", s.By)
		}
		close(v.moved)
		v.moved = make(chan struct{})
	}
	v.s, v.asOf = s, asOf
}

// await returns when the epoch is another one, or after longest.
func (v *view) await(ctx context.Context, epoch int64, longest time.Duration) {
	v.mu.Lock()
	moved := v.moved
	same := v.s.Epoch == epoch
	v.mu.Unlock()
	if !same {
		return
	}
	select {
	case <-moved:
	case <-ctx.Done():
	case <-time.After(longest):
	}
}

// movedOn returns a channel that is closed when the epoch changes.
func (v *view) movedOn() chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.moved
}

// takeAgain returns since when what was sent is to be sent again, each time once.
func (v *view) takeAgain() (again []time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	again, v.again = v.again, nil
	return again
}
