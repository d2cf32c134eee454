package failover

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"time"

	"example.com/fourfold/chassis/mq/redis"
)

// Status is what there is to know about the way of events.
type Status struct {
	// State is the switch, as it was at AsOf: now, or when Redis last answered this process; zero when it never did.
	State redis.State
	AsOf  time.Time
	// Answered reports whether Redis answered. The rest is empty when it did not.
	Answered bool
	Backlog  redis.Backlog
	// Changes are the last ones, newest first.
	Changes []Change
}

// Change is one change of the switch.
type Change struct {
	At time.Time
	// From and To are the same when an operator's Force left the mode as it was.
	From, To redis.Mode
	Force    redis.Force
	// By is an instance or an operator.
	By, Why string
}

// Status asks Redis, and returns what was last known when that does not answer.
func (t *Transport) Status(ctx context.Context) Status {
	s, err := t.queues.Look(ctx)
	if err == nil && s.Epoch > 0 {
		st := Status{State: s, AsOf: s.Now, Answered: true}
		if st.Backlog, err = t.queues.Backlog(ctx); err == nil {
			if st.Changes, err = t.Changes(ctx); err == nil {
				return st
			}
		}
	}
	var st Status
	if st.State, st.AsOf = t.Known(); err == nil {
		st.Answered = true // there is no switch yet
	}
	return st
}

// Known returns the switch as this process last saw it, and when that was; zero when it never did.
func (t *Transport) Known() (redis.State, time.Time) {
	t.view.mu.Lock()
	defer t.view.mu.Unlock()
	return t.view.s, t.view.asOf
}

// Backlog counts what lies in the queues. Any error is an mq.ErrUnavailable.
func (t *Transport) Backlog(ctx context.Context) (redis.Backlog, error) { return t.queues.Backlog(ctx) }

// CanaryBacklog counts what lies in the queues that are used in NORMAL. Any error is an mq.ErrUnavailable.
func (t *Transport) CanaryBacklog(ctx context.Context) (redis.Backlog, error) {
	var others []int
	canaries := t.canaries()
	for shard := range t.queues.Shards() {
		if !slices.Contains(canaries, shard) {
			others = append(others, shard)
		}
	}
	return t.queues.Backlog(ctx, others...)
}

// changed and forced are the lines of the history: Queues.Change writes them.
var (
	changed = regexp.MustCompile(`(?s)^(\d+) (\w+) -> (\w+) by (.*?): (.*)$`)
	forced  = regexp.MustCompile(`(?s)^(\d+) (\w+) forced "(\w*)" by (.*?): (.*)$`)
)

// Changes returns the last changes of the switch, newest first. Any error is an mq.ErrUnavailable.
func (t *Transport) Changes(ctx context.Context) (all []Change, err error) {
	lines, err := t.queues.History(ctx)
	for _, line := range lines {
		if m := changed.FindStringSubmatch(line); m != nil {
			all = append(all, Change{At: millis(m[1]), From: redis.Mode(m[2]), To: redis.Mode(m[3]), By: m[4], Why: m[5]})
		} else if m := forced.FindStringSubmatch(line); m != nil {
			mode := redis.Mode(m[2])
			all = append(all, Change{At: millis(m[1]), From: mode, To: mode, Force: redis.Force(m[3]), By: m[4], Why: m[5]})
		}
	}
	return all, err
}

func millis(text string) time.Time {
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(n)
}
