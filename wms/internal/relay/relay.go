// Package relay hands the events of wms' outbox to whoever follows them, at least once, those of one order one after another.
package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/wms/internal/mysql"
)

// scope names this package's spans and metrics.
const scope = "example.com/fourfold/wms/internal/relay"

// Send hands one event over. nil means that it was taken for good; after any other error it is sent again.
type Send func(ctx context.Context, e mysql.Event) error

// Times are the relay's, Lease and pauses by the database's clock.
type Times struct {
	// Every is the pause between two looks at an outbox in which nothing is due; also the first pause behind a failure.
	Every time.Duration
	// Call bounds a lease together with its Send, and the note of how that went.
	Call time.Duration
	// Lease is how long a relay keeps an event to itself, and so how late another takes over what a dead one had. More than a Send
	// and its note can take: 2 Call.
	Lease time.Duration
	// LongestPause bounds the pauses behind failures, which double.
	LongestPause time.Duration
	// Alert is the age of an event that people are told about.
	Alert time.Duration
}

// Relay sends what is in the outbox. Several may run: each takes leases on what it sends. An order's next event is sent when
// the one before is marked as delivered, so that only the newest sent one can come twice or late. An event that fails
// pauses longer each time, and only its own order waits for it.
type Relay struct {
	store *mysql.Store
	send  Send
	times Times
	sends metric.Int64Counter
}

// slots is how many events one relay sends at once. Orders whose receiver hangs can keep that many busy for one Call each.
const slots = 16

// New makes a relay; Run starts it.
func New(store *mysql.Store, send Send, times Times) *Relay {
	sends, err := otel.Meter(scope).Int64Counter("wms_relay_sends",
		metric.WithDescription("Events sent by the relay, by outcome: delivered, failed."))
	if err != nil {
		otel.Handle(err)
	}
	return &Relay{store, send, times, sends}
}

// Run relays until ctx ends; then it finishes what it is sending.
func (r *Relay) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make(chan struct{}, slots)
	done := make(chan struct{}, 1)
	for failures := int32(0); ; {
		wait := r.times.Every
		if free := slots - len(busy); free > 0 {
			// Who wakes up late sends nothing: another may have the lease by then.
			until := time.Now().Add(r.times.Call)
			events, err := r.lease(ctx, until, free)
			if err != nil && ctx.Err() == nil {
				failures++
				wait = r.pause(failures)
				slog.WarnContext(ctx, "look into the outbox", "err", err)
			} else {
				failures = 0
			}
			for _, e := range events {
				busy <- struct{}{}
				wg.Go(func() {
					r.relay(context.WithoutCancel(ctx), until, e)
					<-busy
					select { // the order's next event is due, or a slot is free for another
					case done <- struct{}{}:
					default:
					}
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-done:
		case <-time.After(wait):
		}
	}
}

func (r *Relay) lease(ctx context.Context, until time.Time, limit int) ([]mysql.Event, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return r.store.LeaseEvents(ctx, r.times.Lease, int32(limit))
}

// relay sends e by until and notes how that went. When it dies or fails in between, e's lease runs out and e is sent again.
func (r *Relay) relay(ctx context.Context, until time.Time, e mysql.Event) {
	ctx, span := otel.Tracer(scope).Start(telemetry.Begin(ctx), "relay "+string(e.Message))
	defer span.End()
	telemetry.Note(ctx, slog.String("order", e.OrderID), slog.String("event", e.ID))
	log := slog.With("message", string(e.Message), "seq", e.Seq, "attempt", e.Attempts)
	call, cancel := context.WithDeadline(ctx, until)
	err := r.send(call, e)
	cancel()

	note, cancel := context.WithTimeout(ctx, r.times.Call)
	defer cancel()
	outcome := "delivered"
	if err != nil {
		outcome = "failed"
		pause := r.pause(e.Attempts)
		log.WarnContext(ctx, "event not taken", "pause", pause.String(), "age", e.Age.String(), "err", err)
		if e.Age >= r.times.Alert {
			log.ErrorContext(ctx, "ALARM: an event is not taken and its order waits", "age", e.Age.String())
		}
		err = r.store.PostponeEvent(note, e, pause)
	} else if err = failpoint.Hit(ctx, "relay/sent"); err == nil {
		err = r.store.EventDelivered(note, e)
	}
	r.sends.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	if err != nil {
		log.WarnContext(ctx, "event stays leased and will be sent again", "outcome", outcome, "err", err)
	}
}

// pause is that behind the nth failure.
func (r *Relay) pause(n int32) time.Duration {
	return min(r.times.Every<<min(n-1, 20), r.times.LongestPause)
}
