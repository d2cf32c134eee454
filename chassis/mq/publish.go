package mq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Publish sends e. nil means that the broker has it on disk. Any error is ErrUnavailable or ErrRefused. Nothing is repeated here: an
// event that must not be lost goes through the Outbox.
func (b *Broker) Publish(ctx context.Context, topic string, e Event) error {
	return b.publish(ctx, topic, e, time.Time{})
}

// publish lets the broker keep e until at, unless that is zero.
func (b *Broker) publish(ctx context.Context, topic string, e Event, at time.Time) error {
	return b.sending(ctx, topic, e, func(ctx context.Context, m *primitive.Message) error {
		if !at.IsZero() {
			deliverAt(m, at)
		}
		ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
		defer cancel()
		result, err := b.producer.SendSync(ctx, m)
		return outcome(result, err)
	})
}

// sending makes the message, as a span that the event carries, and counts how send ended.
func (b *Broker) sending(ctx context.Context, topic string, e Event, send func(context.Context, *primitive.Message) error) error {
	start := time.Now()
	if e.TraceParent != "" && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.TraceParent})
	}
	ctx, span := b.meter.tracer.Start(ctx, "publish "+topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("event", e.ID), attribute.String("type", e.Type), attribute.String("subject", e.Subject)))
	defer span.End()
	e.TraceParent = traceParent(ctx)
	m, err := message(topic, e)
	if err == nil {
		err = send(ctx, m)
	}
	result := "sent"
	switch {
	case errors.Is(err, ErrRefused):
		result = "refused"
	case err != nil:
		result = "unavailable"
	}
	if err != nil {
		span.SetStatus(otelcodes.Error, err.Error())
	}
	b.meter.published(ctx, topic, result, time.Since(start))
	return err
}

// traceParent is ctx's span as W3C has it, empty when there is none.
func traceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// outcome judges what a send returned. The client calls it no error when the broker could not write the message to its disk in time.
func outcome(result *primitive.SendResult, err error) error {
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "CODE: 13,"):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case result.Status != primitive.SendOK:
		return fmt.Errorf("%w: send status %d", ErrUnavailable, result.Status)
	}
	return nil
}
