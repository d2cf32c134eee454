package failover

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/redis"
)

const (
	// suspicion is how often the broker is probed after a send has failed.
	suspicion = 100 * time.Millisecond
	// away is how often it is probed while it is away.
	away = 500 * time.Millisecond
	// lastChance is how long the broker has to take one more event before it counts as away. One that is only slow does, and has patience long
	// to become quicker.
	lastChance, patience = time.Second, 5 * time.Second
	// few is how many entries the queues may hold when the hand-over begins, and young how long they may have lain there: groups keep up.
	few, young = 500, time.Second
	// handover is how long the queues may take to become empty in one, and betweenHandovers how long after one that failed there is no other.
	handover, betweenHandovers = time.Second, 5 * time.Second
)

// Run watches the switch and the broker until ctx ends, and moves the switch when it is this process' turn.
func (t *Transport) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { t.queues.Watch(ctx, poll, func() { t.view.refresh(ctx) }) })
	defer wg.Wait()
	k := keeper{Transport: t}
	for ctx.Err() == nil {
		moved := t.view.movedOn()
		s, fresh := t.view.known()
		pause := poll
		if fresh {
			pause = k.step(ctx, s)
		}
		for _, since := range t.view.takeAgain() {
			if t.again != nil {
				wg.Go(func() { t.again(ctx, since) })
			}
		}
		select {
		case <-ctx.Done():
		case <-moved:
		case <-t.sends.kick:
		case <-time.After(pause):
		}
	}
	return nil
}

// keeper moves the switch. Only Run's goroutine uses it.
type keeper struct {
	*Transport
	probed time.Time // when the broker was last probed
	steady time.Time // since when probes succeed, zero when the last one failed
	failed time.Time // when the last hand-over failed
	times  int       // how many have, since the broker is back
	epoch  int64     // that was last looked at
	since  time.Time // since when
}

// step does what is this process' turn in s, and returns when to look again.
func (k *keeper) step(ctx context.Context, s redis.State) time.Duration {
	if s.Epoch != k.epoch {
		k.epoch, k.since = s.Epoch, time.Now()
	}
	if s.Mode == redis.Normal {
		k.steady, k.times = time.Time{}, 0
		return k.normal(ctx, s)
	}
	k.sends.forget()
	if s.Opener != k.instance {
		k.steady = time.Time{} // another one has the say
		// Ours is only the lease of one that is not heard of any more.
		if left := k.left(s) + time.Second; left > 0 { // Redis compares once more
			return min(left, time.Second)
		}
	}
	if s.Topic == "" { // an operator forced it
		if _, _, _, _, s.Topic = k.sends.look(); s.Topic == "" {
			return time.Second // this process cannot find out whether the broker works: another one leads
		}
	}
	switch s.Mode {
	case redis.Handover:
		return k.handOver(ctx, s)
	case redis.Draining:
		return k.drain(ctx, s)
	}
	return k.degraded(ctx, s)
}

// normal opens the switch when enough sends have failed, and finds out whether the broker works when nobody sends.
func (k *keeper) normal(ctx context.Context, s redis.State) time.Duration {
	failures, lasted, last, worked, topic := k.sends.look()
	switch {
	case s.Force == redis.Pinned || topic == "":
		return time.Second
	case failures >= k.cfg.Failures && lasted >= k.cfg.Within:
		if lasted < patience && k.try(ctx, topic, lastChance) == nil {
			return suspicion
		}
		k.sends.forget()
		slog.WarnContext(ctx, "messages: the broker is away", "err", last)
		k.change(ctx, s, redis.Change{To: redis.Degraded, Lease: k.cfg.Lease, Topic: &topic, Opened: true,
			Why: fmt.Sprintf("%d sends in a row failed within %s, the last one: %s", failures, lasted.Round(time.Millisecond), plain(last))})
		return poll
	case failures > 0:
		if wait := suspicion - time.Since(k.probed); wait > 0 {
			return wait
		}
		_ = k.probe(ctx, topic)
		return 0
	case time.Since(worked) > k.cfg.Idle:
		_ = k.probe(ctx, topic)
		return suspicion
	}
	return min(k.cfg.Idle, time.Second)
}

// degraded waits until probes have succeeded for long enough.
func (k *keeper) degraded(ctx context.Context, s redis.State) time.Duration {
	if wait := away - time.Since(k.probed); wait > 0 {
		return wait
	}
	k.renew(ctx, s) // first: what follows may take longer than the lease has left
	err := k.probe(ctx, s.Topic)
	switch {
	case err == nil && k.steady.IsZero():
		k.steady = time.Now()
	case err != nil && k.try(ctx, s.Topic, lastChance) != nil:
		k.steady = time.Time{}
	}
	if err == nil && s.Force != redis.Held && time.Since(k.steady) >= k.steadyFor(s) {
		k.change(ctx, s, redis.Change{To: redis.Draining, Leased: true, Lease: k.cfg.Lease, Why: "the broker takes events again"})
		return 0
	}
	return away
}

// steadyFor returns for how long probes must succeed until the broker is trusted again: the longer, the more often it was away lately.
func (k *keeper) steadyFor(s redis.State) time.Duration {
	times := 0
	for _, at := range s.Opened {
		if s.Now.Sub(at) < k.cfg.Flapping {
			times++
		}
	}
	return k.cfg.Steady[min(max(times, 1), len(k.cfg.Steady))-1]
}

// drain begins the hand-over when little lies in the queues, and goes back when the broker fails again.
func (k *keeper) drain(ctx context.Context, s redis.State) time.Duration {
	if s.Force == redis.Held {
		k.change(ctx, s, redis.Change{To: redis.Degraded, Leased: true, Lease: k.cfg.Lease, Why: "an operator wants it"})
		return 0
	}
	if wait := suspicion - time.Since(k.probed); wait > 0 {
		return wait
	}
	if k.probe(ctx, s.Topic) != nil {
		if err := k.try(ctx, s.Topic, lastChance); err != nil {
			k.steady = time.Time{}
			slog.WarnContext(ctx, "messages: the broker is away again", "err", err)
			k.change(ctx, s, redis.Change{To: redis.Degraded, Leased: true, Lease: k.cfg.Lease, Opened: true,
				Why: "the broker fails again: " + plain(err)})
			return 0
		}
	}
	b, err := k.queues.Backlog(ctx)
	n, oldest := b.Waiting()
	if err == nil && n <= few && (n == 0 || b.Now.Sub(oldest) < k.patient(young)) && time.Since(k.failed) > betweenHandovers {
		k.change(ctx, s, redis.Change{To: redis.Handover, Leased: true, Lease: k.cfg.Lease, Why: fmt.Sprintf("%d events lie in the queues", n)})
		return 0
	}
	k.renew(ctx, s)
	return 200 * time.Millisecond
}

// handOver returns to NORMAL when the queues are empty. Groups without an instance do not count: they take what is there before what comes.
func (k *keeper) handOver(ctx context.Context, s redis.State) time.Duration {
	b, err := k.queues.Backlog(ctx)
	n, _ := b.Waiting()
	switch {
	case err == nil && n == 0:
		k.change(ctx, s, redis.Change{To: redis.Normal, Leased: true, Why: "the queues are empty"})
	case time.Since(k.since) > k.patient(handover):
		k.failed = time.Now()
		k.times++
		k.change(ctx, s, redis.Change{To: redis.Draining, Leased: true, Lease: k.cfg.Lease, Why: "the queues did not become empty"})
	default:
		return 20 * time.Millisecond
	}
	return 0
}

// patient returns d, twice as long for each hand-over that failed, up to four times: a group may have a handler that takes so long.
func (k *keeper) patient(d time.Duration) time.Duration { return d << min(k.times, 2) }

// left returns for how long the opener has a say yet, by Redis' clock.
func (k *keeper) left(s redis.State) time.Duration {
	_, asOf := k.Known()
	return s.Lease.Sub(s.Now) - time.Since(asOf)
}

// renew says that the opener lives, or makes this process the opener when that does not.
func (k *keeper) renew(ctx context.Context, s redis.State) {
	if k.left(s) < k.cfg.Lease/2 || s.Opener != k.instance {
		k.change(ctx, s, redis.Change{Leased: true, Lease: k.cfg.Lease})
	}
}

// change moves the switch, and looks at it.
func (k *keeper) change(ctx context.Context, s redis.State, c redis.Change) {
	c.By = k.instance
	done, err := k.queues.Change(ctx, s, c)
	if err != nil && ctx.Err() == nil {
		slog.WarnContext(ctx, "messages: the switch in Redis cannot be moved", "to", c.To, "why", c.Why, "err", err)
	}
	if done || err == nil {
		k.view.refresh(ctx)
	}
}

// addresses match what an error says about the network.
var addresses = regexp.MustCompile(`\b(dial|read|write) (tcp|udp)\d?\b|` +
	`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?|\blocalhost(:\d+)?`)

// plain returns why a send failed without addresses, which are in the log: it is shown and mailed to operators.
func plain(err error) string {
	why := strings.TrimPrefix(err.Error(), mq.ErrUnavailable.Error()+": ")
	return strings.TrimLeft(strings.Join(strings.Fields(addresses.ReplaceAllString(why, "")), " "), ": ")
}

// probe sends an event that no handler sees to a topic that events go to, as events are sent.
func (k *keeper) probe(ctx context.Context, topic string) error {
	k.probed = time.Now()
	return k.direct(ctx, topic, k.event(), time.Time{})
}

// try is a probe that may take longer, and does not count.
func (k *keeper) try(ctx context.Context, topic string, longest time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return k.primary.Send(ctx, topic, k.event(), time.Time{})
}

func (k *keeper) event() mq.Event {
	return mq.Event{ID: mq.NewID(), Source: "/" + k.instance, Type: typeProbe, Time: time.Now()}
}
