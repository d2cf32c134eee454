package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/telemetry"
)

// Consume calls handle for each event of s until ctx ends. Each event has its effect once, however often it is delivered. db holds the tables
// mq_inbox and mq_position. An event is acknowledged when its row is committed: as done, or as waiting for another try. When ctx ends, no
// handler is interrupted: Consume returns after those under way have ended.
//
// Consume waits for a topic or a broker that is not there yet. It returns an error for a subscription that cannot work.
func (b *Bus) Consume(ctx context.Context, db *sql.DB, s Subscription, handle Handler) error {
	in, err := b.inbox(db, s, handle)
	if err != nil {
		return err
	}
	return b.consume(ctx, in)
}

func (b *Bus) inbox(db *sql.DB, s Subscription, handle Handler) (*inbox, error) {
	if err := s.complete(b.tries); err != nil {
		return nil, err
	}
	return &inbox{db: db, s: s, handle: handle, meter: b.meter, woken: make(chan struct{}, 1), undisturbed: b.Undisturbed}, nil
}

func (b *Bus) consume(ctx context.Context, in *inbox) error {
	ctx, cancel := context.WithCancel(ctx)
	// Handlers under way are not interrupted, so their context outlives ctx.
	inner := context.WithoutCancel(ctx)
	b.begin(in)
	defer b.end(in)
	var retries sync.WaitGroup
	retries.Go(func() { in.retryDue(ctx, inner) })
	defer retries.Wait()
	defer cancel()
	return b.transport.Listen(ctx, in.s, func(d Delivery) bool {
		return in.take(ctx, inner, b.verified(in.s.Topic, d))
	})
}

// begin records that the group's consumer runs here, so that Replay and Groups find it.
func (b *Bus) begin(in *inbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in.since = time.Now()
	b.consumers[in.s.Group] = in
}

func (b *Bus) end(in *inbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.consumers[in.s.Group] == in {
		delete(b.consumers, in.s.Group)
	}
}

// Order returns the order of group's subscription, Unordered when the group is not consumed here.
func (b *Bus) Order(group string) Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	if in := b.consumers[group]; in != nil {
		return in.s.Order
	}
	return Unordered
}

// take turns one delivery into a committed row. It returns false, and the message stays with the broker, only when ctx ended before the database
// took it.
func (in *inbox) take(ctx, inner context.Context, d Delivery) bool {
	for n := 1; ; n++ {
		_, err := in.deliver(inner, d)
		if err == nil {
			return true
		}
		slog.WarnContext(inner, "consume: the database does not take the event", "group", in.s.Group, "event", d.Event.ID, "err", err)
		if backoff.Sleep(ctx, backoff.Pause(n, 100*time.Millisecond, 5*time.Second)); ctx.Err() != nil {
			return false
		}
	}
}

// retryDue retries waiting rows that are due, until ctx ends. Several processes may run it: the one that locks a row works on it. A slow handler
// holds up no other row.
func (in *inbox) retryDue(ctx, inner context.Context) {
	var (
		wg    sync.WaitGroup
		at    sync.Map // rows that this process works on
		slots = make(chan struct{}, in.s.Workers)
	)
	defer wg.Wait()
	for ctx.Err() == nil {
		ids, err := in.due(ctx)
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "consume: look for waiting events", "group", in.s.Group, "err", err)
		}
		begun := 0
		for _, id := range ids {
			if _, busy := at.LoadOrStore(id, true); busy {
				continue
			}
			begun++
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { at.Delete(id); <-slots }()
				if ctx.Err() == nil {
					in.retry(inner, id)
				}
			})
		}
		if len(ids) == retryBatch && begun > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-in.woken:
		case <-time.After(backoff.Pause(1, in.s.Poll, in.s.Poll)):
		}
	}
}

// span starts a span for the work on e, as part of the trace that published it.
func (in *inbox) span(ctx context.Context, e Event) (context.Context, trace.Span) {
	ctx = telemetry.Begin(ctx)
	if e.TraceParent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.TraceParent})
	}
	ctx, span := in.meter.tracer.Start(ctx, "consume "+in.s.Group, trace.WithSpanKind(trace.SpanKindConsumer))
	telemetry.Note(ctx, slog.String("event", e.ID), slog.String("subject", e.Subject))
	return ctx, span
}

// ended records how the work on an event ended, in its span and in the metrics.
func (in *inbox) ended(ctx context.Context, span trace.Span, start time.Time, outcome string, err error) {
	span.SetAttributes(attribute.String("outcome", outcome))
	if err != nil {
		span.SetStatus(otelcodes.Error, cut(err.Error(), 200))
	}
	in.meter.consumed(ctx, in.s.Group, outcome, time.Since(start))
}

// call runs the handler, bounds its time and turns its panics into errors. A handler that ignores its context is abandoned; its transaction is
// rolled back, so it cannot do anything more.
func (in *inbox) call(ctx context.Context, tx *sql.Tx, e Event) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("the handler ended its goroutine")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
			done <- err
		}()
		err = in.handle(ctx, tx, e)
	}()
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", in.s.Timeout)
	}
	return failpoint.Hit(ctx, "consume/"+in.s.Group+"/effect")
}
