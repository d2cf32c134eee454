package alert

import (
	"context"
	"fmt"
	"strings"
	"time"

	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/redis"
)

const (
	modeEvery   = 5 * time.Second
	mode        = "mq-mode"
	canary      = "mq-canary"
	queuesRedis = "mq-queues-redis"
	// missedFor is how long ago an outage may have ended that nobody saw: it is told late. History goes back further than alerts are remembered.
	missedFor = 24 * time.Hour
)

// WatchMode returns background work that looks at the way of events by t: it raises mq-mode while they go by Redis, and tells when they do
// not any more, also when both lie between two looks; mq-canary while the queue that is used in NORMAL stands still; and mq-queues-redis
// while Redis does not answer. Any number of processes of one service may run it.
func (a *Alerts) WatchMode(t *failover.Transport) func(context.Context) error {
	return loop.Every(modeEvery, time.Minute, "look at the way of events", newModeWatch(a, t).look)
}

// modeWatch is what one process has seen.
type modeWatch struct {
	alerts *Alerts
	t      *failover.Transport
	// long is for how long an entry may lie in the queue that is used in NORMAL; settle for how long it is then looked at until it is told: a
	// group whose instances were all away begins with what is old.
	long, settle time.Duration

	redis   silence
	stale   time.Time // since when the queue stands still
	epoch   int64     // for which and in which store changes are
	store   string
	changes []failover.Change
}

func newModeWatch(a *Alerts, t *failover.Transport) *modeWatch {
	return &modeWatch{alerts: a, t: t, long: time.Minute, settle: 30 * time.Second, redis: silence{long: time.Minute}}
}

func (w *modeWatch) look(ctx context.Context) error {
	s, err := w.t.Look(ctx)
	if err != nil {
		return w.silent(ctx)
	}
	w.redis.over()
	if err := w.alerts.Clear(ctx, queuesRedis); err != nil || s.Epoch == 0 {
		return err
	}
	if err := w.lookAtMode(ctx, s); err != nil {
		return err
	}
	return w.lookAtCanary(ctx, s)
}

// silent raises mq-queues-redis when Redis has not answered for long.
func (w *modeWatch) silent(ctx context.Context) error {
	occurrence, lasts, told, err := w.redis.lasts(ctx, w.alerts, queuesRedis)
	if err != nil || !told {
		return err
	}
	known, _ := w.t.Known()
	now := "Events go by the broker, and nothing is delayed. If the broker fails too, events wait in the outboxes."
	if known.Mode != redis.Normal && known.Epoch > 0 {
		now = "The broker was away when Redis last answered: what lies in its queues waits for Redis, and what is sent now goes by the\n" +
			"broker if that is back, and waits in the outboxes until then. What Redis should lose is sent again."
	}
	return occurrence.Raise(ctx, queuesRedis,
		fmt.Sprintf("the Redis for queues has not answered for %s", rounded(lasts)),
		fmt.Sprintf(`The Redis that takes events while the message broker is away has not answered %[1]s for %[2]s.
%[3]s
Bring it back with its data: it is not the Redis for limits.
What was last known:     GET  /v1/ops/mq
`, w.alerts.service, rounded(lasts), now))
}

// lookAtMode tells that events go by Redis, and that they do not any more.
func (w *modeWatch) lookAtMode(ctx context.Context, s redis.State) error {
	if s.Epoch != w.epoch || s.Store != w.store {
		changes, err := w.t.Changes(ctx)
		if err != nil {
			return err
		}
		w.epoch, w.store, w.changes = s.Epoch, s.Store, changes
	}
	told, lasts, err := w.alerts.last(ctx, mode)
	if err != nil {
		return err
	}
	o := lastOutage(s, w.changes)
	switch {
	case o.n == 0 && lasts:
		o.n = told // Redis has forgotten how it began
	case o.n == 0 && o.ended.IsZero() && s.Mode != redis.Normal:
		o.n = s.Since.UnixMilli()
	}
	if lasts && told != o.n {
		err := w.alerts.Of(told).Over(ctx, mode, "events went by the broker again",
			"In between events went by the message broker again, as far as is known.\n")
		if err != nil {
			return err
		}
		lasts = false
	}
	occurrence := w.alerts.Of(o.n)
	switch {
	case o.n == 0, s.Mode == redis.Normal && o.ended.IsZero() && !o.began.IsZero():
		return nil // there was none, or it has begun since s was read
	case s.Mode != redis.Normal && o.ended.IsZero():
		summary, detail := o.lasts(s)
		return occurrence.Raise(ctx, mode, summary, detail)
	case !lasts && (o.n <= told || s.Now.Sub(o.ended) > missedFor):
		return nil // it was told
	}
	if !lasts {
		summary, detail := o.missed()
		if err := occurrence.Raise(ctx, mode, summary, detail); err != nil {
			return err
		}
	}
	summary, detail := o.over()
	return occurrence.Over(ctx, mode, summary, detail)
}

// lookAtCanary raises mq-canary while, in NORMAL, groups that have an instance do not settle what comes by Redis.
func (w *modeWatch) lookAtCanary(ctx context.Context, s redis.State) error {
	if s.Mode != redis.Normal {
		w.stale = time.Time{}
		return nil // other queues are in use, and have their alert
	}
	b, err := w.t.CanaryBacklog(ctx)
	if err != nil {
		return nil // Redis does not answer any more: the next look says so
	}
	var slow []string
	for _, g := range b.Groups {
		if oldest := b.OldestOf(g.Group); g.Instances > 0 && !oldest.IsZero() && s.Now.Sub(oldest) > w.long {
			slow = append(slow, fmt.Sprintf("%s: %d event(s), the oldest sent %s ago", g.Group, g.Entries, rounded(s.Now.Sub(oldest))))
		}
	}
	switch {
	case len(slow) == 0:
		w.stale = time.Time{}
		return w.alerts.Clear(ctx, canary)
	case w.stale.IsZero():
		w.stale = time.Now()
	}
	if time.Since(w.stale) < w.settle {
		return nil
	}
	return w.alerts.Raise(ctx, canary, fmt.Sprintf("events that go by Redis do not come: %s", slow[0]),
		fmt.Sprintf(`One queue in a hundred takes its events in Redis as well as by the message broker, all the time, so that it is known
whether that works. It does not, for these groups, although their instances are heard of:
  %s
Nothing is delayed now: the same events come by the broker. But if the broker were away, they would not come at all.
What lies in the queues: GET  /v1/ops/mq
Why it is not read:      the logs of the services that consume these groups
`, strings.Join(slow, "\n  ")))
}
