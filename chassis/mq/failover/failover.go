// Package failover is the transport that carries on when the broker is away: it sends by the broker, and by Redis while that is gone. One switch
// in Redis says for all processes which way events go:
//
//	        ten sends failed           the opener's sends work again         the queues are all but empty
//	NORMAL ------------------> DEGRADED ------------------------> DRAINING -----------------------------> HANDOVER
//	   ^                        ^                                    |  ^                                    |  |
//	   |                        +------- they fail again ------------+  +------ not empty in a second -------+  |
//	   +------------------------------------------ the queues are empty ----------------------------------------+
//
// Each change has a new epoch, which Redis compares when it takes an event: a process that slept through a change cannot send the old way. Only
// the instance that found the broker away, or any when that is not heard of any more, may lead the way back. Groups read both ways all the time.
//
// A transport promises no order between events that go different ways, and may deliver one by both: the inbox puts that right, and the outbox
// holds what neither takes. docs/degrade.md says what is promised.
package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/redis"
)

// Primary is the way by the broker.
type Primary interface {
	mq.Halves
	mq.History
	mq.Disk
}

// Config says when the broker counts as away, and as back. Zero values mean the defaults.
type Config struct {
	// Failures is after how many failed sends in a row, of one process, events go by Redis. Default 10.
	Failures int `yaml:"failures"`
	// Deadline bounds one send by the broker. Default 250 ms.
	Deadline time.Duration `yaml:"deadline"`
	// Within is for how long at least they must have failed: a burst that fails at once is one failure. Default 1 s.
	Within time.Duration `yaml:"within"`
	// Idle is after how long without a send the broker is probed. Default 5 s.
	Idle time.Duration `yaml:"idle"`
	// Lease is for how long the opener is believed to live after it was last heard of. Default 5 s.
	Lease time.Duration `yaml:"lease"`
	// Steady is for how long the opener's probes must succeed until events go by the broker again: the first time, and the second, third and
	// every later time within Flapping. Default 2 s, 30 s, 60 s, 120 s.
	Steady []time.Duration `yaml:"steady"`
	// Flapping is how long a time at which the broker was away counts. Default 10 min.
	Flapping time.Duration `yaml:"flapping"`
	// Canary is the share of the queues whose events go both ways in NORMAL, so that the way by Redis is known to work: one in so many. Default
	// 100, less than 0 for none.
	Canary int `yaml:"canary"`
	// Overlap is for how long after the return to NORMAL all events go both ways: consumers take that long to find a broker that was away.
	// Default 45 s, less than 0 for not at all.
	Overlap time.Duration `yaml:"overlap"`
}

func (c *Config) complete() {
	c.Failures = cmp.Or(c.Failures, 10)
	c.Deadline = cmp.Or(c.Deadline, 250*time.Millisecond)
	c.Within = cmp.Or(c.Within, time.Second)
	c.Idle = cmp.Or(c.Idle, 5*time.Second)
	c.Lease = cmp.Or(c.Lease, 5*time.Second)
	c.Flapping = cmp.Or(c.Flapping, 10*time.Minute)
	c.Canary = cmp.Or(c.Canary, 100)
	c.Overlap = cmp.Or(c.Overlap, 45*time.Second)
	if len(c.Steady) == 0 {
		c.Steady = []time.Duration{2 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}
	}
}

// Transport sends by the broker or by Redis. Its methods may be called by any number of goroutines; Run must run.
type Transport struct {
	instance string
	primary  Primary
	queues   *redis.Queues
	cfg      Config
	view     view
	sends    sends

	again func(context.Context, time.Time)
}

var (
	_ mq.Halves  = (*Transport)(nil)
	_ mq.History = (*Transport)(nil)
	_ mq.Disk    = (*Transport)(nil)
	_ mq.Detour  = (*Transport)(nil)
)

// New returns the transport of service. All services must use the same queues and settings.
func New(service string, primary Primary, queues *redis.Queues, cfg Config) *Transport {
	cfg.complete()
	return &Transport{instance: fmt.Sprintf("%s-%d-%s", service, os.Getpid(), mq.NewID()[28:]), primary: primary, queues: queues, cfg: cfg,
		view: view{queues: queues, moved: make(chan struct{})}, sends: sends{kick: make(chan struct{}, 1)}}
}

// Backfill has f called when everything that was sent since then is to be sent again: when the broker is back, whose history would lack it, and
// when Redis has lost what it held. Call it before Run.
func (t *Transport) Backfill(f func(ctx context.Context, since time.Time)) { t.again = f }

// typeProbe is the type of the events that only find out whether the broker works. No handler sees one.
const typeProbe = "mq.probe"

// longestHandover is how long a send waits for the hand-over to end.
const longestHandover = 1500 * time.Millisecond

// Send implements mq.Transport.
func (t *Transport) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	for range 4 {
		s := t.view.now(ctx)
		_, fresh := t.view.known()
		if s.Mode == redis.Handover && fresh {
			if t.view.await(ctx, s.Epoch, longestHandover); ctx.Err() != nil {
				return fmt.Errorf("%w: %w", mq.ErrUnavailable, ctx.Err())
			}
			continue
		}
		if s.Mode == redis.Handover || s.Mode == redis.Normal && !(fresh && t.bothWays(s, e, at)) {
			// The usual way. In a hand-over the broker is known to work, and Redis does not say what became of it.
			return t.direct(ctx, topic, e, at)
		}
		err := t.queues.SendIn(ctx, s.Epoch, topic, e, at)
		switch {
		case errors.Is(err, redis.ErrStale):
			t.view.refresh(ctx)
			continue
		case s.Mode == redis.Normal, errors.Is(err, mq.ErrUnavailable):
			// It goes both ways, and the broker must have it. Or Redis is away too, and what overtakes what lies there is asked for by who
			// misses it.
			return t.direct(ctx, topic, e, at)
		}
		t.sends.goesTo(topic)
		return err
	}
	return fmt.Errorf("%w: the way of events is changing", mq.ErrHeld)
}

// bothWays reports whether e goes by Redis as well in NORMAL. What is due later does not: the broker holds it.
func (t *Transport) bothWays(s redis.State, e mq.Event, at time.Time) bool {
	if s.Force == redis.Pinned || s.Epoch == 0 || time.Until(at) > 0 {
		return false
	}
	return t.cfg.Canary > 0 && t.queues.ShardOf(e)%t.cfg.Canary == 0 || len(s.Opened) > 0 && time.Since(s.Since) < t.cfg.Overlap
}

// canaries are the queues that are used in NORMAL.
func (t *Transport) canaries() (shards []int) {
	for shard := 0; t.cfg.Canary > 0 && shard < t.queues.Shards(); shard += t.cfg.Canary {
		shards = append(shards, shard)
	}
	return shards
}

// direct sends by the broker.
func (t *Transport) direct(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	deadline := t.cfg.Deadline + time.Duration(len(e.Data))*time.Second/(4<<20) // a megabyte has as long again
	bounded, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	start := time.Now()
	err := t.primary.Send(bounded, topic, e, at)
	if ctx.Err() == nil {
		t.sends.told(topic, err, time.Since(start) > deadline+starved)
	}
	return err
}

// Listen implements mq.Transport: it takes from both ways. What Redis still holds for the group from an outage comes first.
func (t *Transport) Listen(ctx context.Context, s mq.Subscription, take func(mq.Delivery) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, max(s.Workers, 1)) // of both ways together
	admit := func(d mq.Delivery) bool {
		if d.Broken == nil && d.Event.Type == typeProbe {
			return true
		}
		slots <- struct{}{}
		defer func() { <-slots }()
		return take(d)
	}
	var (
		wg     sync.WaitGroup
		failed [2]error
	)
	wg.Go(func() { defer cancel(); failed[0] = t.queues.Listen(ctx, s, admit) })
	wg.Go(func() {
		defer cancel()
		t.awaitLeft(ctx, s.Group)
		failed[1] = t.primary.Listen(ctx, s, admit)
	})
	wg.Wait()
	return errors.Join(failed[:]...)
}

// longestLeft bounds how long a group that begins takes only from Redis.
const longestLeft = time.Minute

// awaitLeft waits in NORMAL until the group has settled what an outage left for it in Redis: what comes by the broker was sent later.
func (t *Transport) awaitLeft(ctx context.Context, group string) {
	for end := time.Now().Add(longestLeft); ctx.Err() == nil && time.Now().Before(end); {
		if s := t.view.now(ctx); s.Mode != redis.Normal || s.Epoch == 0 {
			return
		}
		b, err := t.queues.Backlog(ctx, t.canaries()...)
		if err != nil || b.Of(group) == 0 {
			return
		}
		backoff.Sleep(ctx, 200*time.Millisecond)
	}
}

// Replay implements mq.History by the broker's: see Backfill.
func (t *Transport) Replay(ctx context.Context, topic string, from, to time.Time, position string, f func(mq.Delivery) error) (string, error) {
	return t.primary.Replay(ctx, topic, from, to, position, func(d mq.Delivery) error {
		if d.Broken == nil && d.Event.Type == typeProbe {
			return nil
		}
		return f(d)
	})
}

// DiskUsed implements mq.Disk by the broker's.
func (t *Transport) DiskUsed(ctx context.Context) (float64, error) { return t.primary.DiskUsed(ctx) }

// Undisturbed implements mq.Detour.
func (t *Transport) Undisturbed() time.Duration {
	s, _ := t.view.known()
	switch {
	case s.Mode != redis.Normal:
		return 0
	case s.Epoch == 0:
		return math.MaxInt64 // nothing is known of one
	}
	return time.Since(s.Since)
}

// Moved implements mq.Detour.
func (t *Transport) Moved() <-chan struct{} { return t.view.movedOn() }

// Direct implements mq.Detour.
func (t *Transport) Direct() mq.Transport { return onlyBroker{t} }

type onlyBroker struct{ *Transport }

func (t onlyBroker) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	if s := t.view.now(ctx); s.Mode != redis.Normal {
		return fmt.Errorf("%w: the broker is away", mq.ErrUnavailable)
	}
	return t.direct(ctx, topic, e, at)
}

// Transactions implements mq.Halves: there are half messages in NORMAL only.
func (t *Transport) Transactions(check mq.Check) mq.Transactions {
	return transactions{t, t.primary.Transactions(check)}
}

type transactions struct {
	*Transport
	primary mq.Transactions
}

// Half implements mq.Transactions.
func (t transactions) Half(ctx context.Context, topic string, e mq.Event, born time.Time, local func() mq.Verdict) error {
	if s := t.view.now(ctx); s.Mode != redis.Normal {
		return fmt.Errorf("%w: the broker is away", mq.ErrUnavailable)
	}
	watch := time.AfterFunc(t.cfg.Deadline, func() { t.sends.suspect(topic) }) // it may take longer than a send until it fails
	defer watch.Stop()
	err := t.primary.Half(ctx, topic, e, born, func() mq.Verdict { watch.Stop(); return local() })
	if errors.Is(err, mq.ErrUnavailable) && ctx.Err() == nil {
		t.sends.suspect(topic)
	}
	return err
}

// Answer implements mq.Transactions.
func (t transactions) Answer(ctx context.Context, topic string) error {
	return t.primary.Answer(ctx, topic)
}
