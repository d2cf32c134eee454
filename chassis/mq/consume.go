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

// Consume is work until ctx ends: it calls handle for each event of s and makes the effect happen once, whatever is delivered how often.
// db holds the tables mq_inbox and mq_position. An event is acknowledged when its row is committed: as done, or as waiting for
// another try. When ctx ends no handler is cut: Consume returns when those under way have ended.
//
// It waits for a topic or a broker that is not there yet. It fails on a subscription that cannot work.
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
	return &inbox{db: db, s: s, handle: handle, meter: b.meter, woken: make(chan struct{}, 1)}, nil
}

func (b *Bus) consume(ctx context.Context, in *inbox) error {
	ctx, cancel := context.WithCancel(ctx)
	// What has begun is not cut, so the handlers' context lives longer than ctx.
	inner := context.WithoutCancel(ctx)
	b.begin(in)
	defer b.end(in)
	var retries sync.WaitGroup
	retries.Go(func() { in.retryDue(ctx, inner) })
	defer retries.Wait()
	defer cancel()
	return b.transport.Listen(ctx, in.s, func(d Delivery) bool { return in.take(ctx, inner, d) })
}

// begin notes that a group's consumer runs here, for who asks by its name.
func (b *Bus) begin(in *inbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.consumers[in.s.Group] = in
}

func (b *Bus) end(in *inbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.consumers[in.s.Group] == in {
		delete(b.consumers, in.s.Group)
	}
}

// take brings one delivery to a row. It reports false, and the message stays with the broker, only when ctx ended before the
// database took it.
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

// retryDue looks for waiting rows whose time has come, until ctx ends. Several processes may: who locks the row has it. A handler that
// takes its time holds up nobody else.
func (in *inbox) retryDue(ctx, inner context.Context) {
	var (
		wg    sync.WaitGroup
		at    sync.Map // rows that are being worked on here
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

// span begins the work on e, as a part of the trace that published it.
func (in *inbox) span(ctx context.Context, e Event) (context.Context, trace.Span) {
	ctx = telemetry.Begin(ctx)
	if e.TraceParent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.TraceParent})
	}
	ctx, span := in.meter.tracer.Start(ctx, "consume "+in.s.Group, trace.WithSpanKind(trace.SpanKindConsumer))
	telemetry.Note(ctx, slog.String("event", e.ID), slog.String("subject", e.Subject))
	return ctx, span
}

// ended counts how the work on an event ended.
func (in *inbox) ended(ctx context.Context, span trace.Span, start time.Time, outcome string, err error) {
	span.SetAttributes(attribute.String("outcome", outcome))
	if err != nil {
		span.SetStatus(otelcodes.Error, cut(err.Error(), 200))
	}
	in.meter.consumed(ctx, in.s.Group, outcome, time.Since(start))
}

// call runs the handler, bounded in time, its panics contained. A handler that does not listen to its context is left behind; its
// transaction is rolled back, so it cannot do anything more.
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
