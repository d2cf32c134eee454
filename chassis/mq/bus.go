package mq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"example.com/fourfold/chassis/mac"
)

// Config is the part of a service's config.yaml about messages that holds for every transport.
type Config struct {
	// Tries is how often a handler may fail before the event is dead, unless the subscription says. Default 10.
	Tries int `yaml:"tries"`
	// HalfGrace is OutboxConfig's Grace.
	HalfGrace time.Duration `yaml:"half_grace"`
	// Keys sign the events that are published, with the first of them, and check those that come: id:hex,id:hex, the same in all services. The
	// zero value neither signs nor checks, which is for tests.
	Keys mac.Keys `yaml:"keys"`
}

// Bus is one service's end of a transport. Events published through it carry the service's name, and it is the one place that knows whether the
// transport takes events. Its methods may be called by any number of goroutines.
type Bus struct {
	service   string
	tries     int
	keys      mac.Keys
	transport Transport
	breaker   breaker
	meter     *meter

	mu        sync.Mutex
	consumers map[string]*inbox // by group: those that run here
}

// NewBus returns the Bus of service; all its instances use the same name.
func NewBus(service string, t Transport, cfg Config) *Bus {
	return &Bus{service: service, tries: cfg.Tries, keys: cfg.Keys, transport: t, meter: newMeter(), consumers: map[string]*inbox{}}
}

// Publish sends e; id, source and time are filled in where they are empty. nil means that the transport has it; any error is ErrUnavailable,
// ErrRefused or ErrHeld. Publish does not retry, and takes no detour while the broker is away: an event that must not be lost goes through the
// Outbox.
func (b *Bus) Publish(ctx context.Context, topic string, e Event) error {
	by := b.transport
	if way, ok := by.(Detour); ok {
		by = way.Direct()
	}
	return b.sendBy(ctx, by, topic, b.complete(ctx, e), time.Time{})
}

// complete fills in what the publisher left empty: a new id, the service as the source, now as the time, and ctx's span.
func (b *Bus) complete(ctx context.Context, e Event) Event {
	if e.ID == "" {
		e.ID = NewID()
	}
	if e.Source == "" {
		e.Source = "/" + b.service
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.TraceParent == "" {
		e.TraceParent = traceParent(ctx)
	}
	return e
}

// sendBy sends e by a transport, to be delivered at at, at once when that is zero.
func (b *Bus) sendBy(ctx context.Context, by Transport, topic string, e Event, at time.Time) error {
	err := b.sending(ctx, topic, e, func(ctx context.Context, e Event) error { return by.Send(ctx, topic, e, at) })
	if ctx.Err() == nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrHeld) {
		b.breaker.told(topic, false, err)
	}
	return err
}

// sending runs send in a span that e carries, and counts how it ended.
func (b *Bus) sending(ctx context.Context, topic string, e Event, send func(context.Context, Event) error) error {
	start := time.Now()
	if e.TraceParent != "" && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.TraceParent})
	}
	ctx, span := b.meter.tracer.Start(ctx, "publish "+topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("event", e.ID), attribute.String("type", e.Type), attribute.String("subject", e.Subject)))
	defer span.End()
	e.TraceParent = traceParent(ctx)
	err := errors.Join(checkTopic(topic), e.check())
	if err == nil {
		err = send(ctx, b.sign(topic, e))
	}
	result := "sent"
	switch {
	case errors.Is(err, ErrRefused):
		result = "refused"
	case errors.Is(err, ErrHeld):
		result = "held"
	case err != nil:
		result = "unavailable"
	}
	if err != nil {
		span.SetStatus(otelcodes.Error, err.Error())
	}
	b.meter.published(ctx, topic, result, time.Since(start))
	return err
}

// Undisturbed returns for how long events have gone the usual way: what was sent before may lie where nobody can read it now.
func (b *Bus) Undisturbed() time.Duration {
	if d, ok := b.transport.(Detour); ok {
		return d.Undisturbed()
	}
	return math.MaxInt64
}

// checkTopic returns an ErrRefused unless topic is a name that every transport takes.
func checkTopic(topic string) error {
	if topic == "" || len(topic) > maxTopic || strings.ContainsFunc(topic, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_%", r)
	}) {
		return fmt.Errorf("%w: topic %q: 1 to %d of a-z, A-Z, 0-9, -, _", ErrRefused, topic, maxTopic)
	}
	return nil
}

// traceParent returns ctx's span as a W3C traceparent, empty when there is none.
func traceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}
