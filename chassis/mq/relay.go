package mq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/failpoint"
)

const (
	relayBatch   = 128
	relayWorkers = 8
)

// Relay sends what the outbox holds until ctx ends; several processes may run it. A row is marked as sent only after the broker has it, so when
// a relay dies in between the event is sent twice. An event that cannot be sent holds up only its own subject; its pauses grow to a minute.
// While the transport takes none, all wait.
func (o *Outbox) Relay(ctx context.Context) error {
	owner := NewID()
	away := 0 // rounds in a row in which the transport took nothing
	for ctx.Err() == nil {
		moved := o.moved()
		n, err := o.round(ctx, owner)
		o.confirm(ctx) // whatever came of the round
		switch {
		case errors.Is(err, ErrUnavailable):
			away++
			slog.WarnContext(ctx, "relay: the broker does not take events", "err", err, "rounds", away)
			pause(ctx, backoff.Pause(away, 100*time.Millisecond, 2*time.Second), moved)
			continue
		case err != nil && ctx.Err() == nil:
			slog.WarnContext(ctx, "relay", "err", err)
			backoff.Sleep(ctx, o.cfg.Poll)
			continue
		}
		away = 0
		if n == 0 {
			o.idle(ctx)
		}
	}
	return nil
}

// moved returns a channel that is closed when events begin to go another way than now.
func (o *Outbox) moved() <-chan struct{} {
	if way, ok := o.bus.transport.(Detour); ok {
		return way.Moved()
	}
	return nil
}

// pause waits for d, or until moved is closed.
func pause(ctx context.Context, d time.Duration, moved <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-moved:
	case <-time.After(d):
	}
}

// idle waits for the next look. Append nudges before its transaction is committed, so the first looks are close together.
func (o *Outbox) idle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(o.cfg.Poll + rand.N(o.cfg.Poll/4+1)):
	case <-o.nudge:
		for _, pause := range []time.Duration{time.Millisecond, 4 * time.Millisecond, 15 * time.Millisecond, 50 * time.Millisecond} {
			backoff.Sleep(ctx, pause)
			if ids, err := database.IDs(ctx, o.db, `SELECT id FROM mq_outbox WHERE state = 'READY' AND next_at <= NOW(3) LIMIT 1`); err != nil ||
				len(ids) > 0 {
				return
			}
		}
	}
}

// round leases what is due and sends it, each subject in order. It returns how many rows it took, and ErrUnavailable when the broker took none
// of them. A topic that fails, for example one that was never created, is skipped for this round; the others go on.
func (o *Outbox) round(ctx context.Context, owner string) (int, error) {
	heads, err := o.lease(ctx, owner, relayBatch)
	if err != nil {
		return 0, err
	}
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		failures = map[string]error{} // by topic
		sent     bool
		slots    = make(chan struct{}, relayWorkers)
	)
	stop := func(topic string) error {
		mu.Lock()
		defer mu.Unlock()
		return cmp.Or(ctx.Err(), failures[topic])
	}
	for _, head := range heads {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			n, err := o.sendSubject(context.WithoutCancel(ctx), owner, head, stop)
			mu.Lock()
			defer mu.Unlock()
			sent = sent || n > 0
			if err != nil {
				failures[head.topic] = err
			}
		})
	}
	wg.Wait()
	for topic, err := range failures {
		if !sent {
			return len(heads), err
		}
		slog.WarnContext(ctx, "relay: a topic takes no events; the others go on", "topic", topic, "err", err)
	}
	return len(heads), nil
}

// sendSubject sends r and what follows it in its subject, up to a limit so that other subjects have their turn, and returns how many it sent.
// stop returns why nothing more is to be sent to a topic, or nil.
func (o *Outbox) sendSubject(ctx context.Context, owner string, r row, stop func(topic string) error) (sent int, err error) {
	for sent < relayBatch {
		if why := stop(r.topic); why != nil {
			return sent, o.postpone(ctx, owner, r, backoff.Pause(r.tries, 100*time.Millisecond, 5*time.Second), why)
		}
		err := o.send(ctx, owner, r)
		if errors.Is(err, ErrHeld) {
			return sent, o.postpone(ctx, owner, r, r.held(), err)
		}
		if err != nil {
			return sent, err
		}
		sent++
		next, err := o.leaseNext(ctx, owner, r)
		if err != nil || len(next) == 0 {
			return sent, err
		}
		r = next[0]
	}
	return sent, o.postpone(ctx, owner, r, 0, errors.New("other subjects' turn"))
}

// longestHeld is how long a row that the transport holds for later is not offered again.
const longestHeld = 5 * time.Minute

// held returns when to offer a row again that the transport does not take now: when it is due, or soon when it is due already.
func (r row) held() time.Duration {
	if wait := time.Until(r.deliverAt.Time); r.deliverAt.Valid && wait > 0 {
		return min(wait, longestHeld)
	}
	return backoff.Pause(r.tries, 100*time.Millisecond, 5*time.Second)
}

// offerHeld makes the relay offer at once what the transport held for later: it may take that now.
func (o *Outbox) offerHeld(ctx context.Context) error {
	_, err := o.db.ExecContext(ctx, `UPDATE mq_outbox SET next_at = NOW(3) WHERE state = 'READY' AND deliver_at IS NOT NULL AND last_error <> ''
		AND next_at > NOW(3)`)
	o.soon()
	return err
}

// way returns the transport for a row. What is sent again only for the broker's history takes the usual way alone, while that is open.
func (o *Outbox) way(r row) Transport {
	if way, ok := o.bus.transport.(Detour); ok && r.backfill && way.Undisturbed() > 0 {
		return way.Direct()
	}
	return o.bus.transport
}

// send hands one row to the broker. It returns ErrUnavailable when nothing more is to be tried now, and ErrHeld when only this row is not taken;
// another error of this row alone is recorded in the row.
func (o *Outbox) send(ctx context.Context, owner string, r row) error {
	err := json.Unmarshal(r.text, &r.event)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	} else {
		err = o.bus.sendBy(ctx, o.way(r), r.topic, r.event, r.deliverAt.Time)
	}
	switch {
	case err == nil:
		if err := failpoint.Hit(ctx, "outbox/sent"); err != nil {
			return err
		}
		return o.sent(ctx, owner, r.id)
	case errors.Is(err, ErrRefused):
		slog.ErrorContext(ctx, "relay: an event is refused and holds up its subject", "event", r.event.ID, "topic", r.topic, "err", err)
		return o.postpone(ctx, owner, r, backoff.Pause(r.tries, time.Second, time.Minute), err)
	case errors.Is(err, ErrHeld):
		return err
	default:
		return errors.Join(err, o.postpone(ctx, owner, r, backoff.Pause(r.tries, 100*time.Millisecond, 5*time.Second), err))
	}
}
