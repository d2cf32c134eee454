package mq

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "example.com/fourfold/chassis/mq"

// meter counts sends and deliveries.
type meter struct {
	tracer           trace.Tracer
	publish, consume metric.Float64Histogram
}

func newMeter() *meter {
	m := otel.Meter(scope)
	buckets := metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	publish, err := m.Float64Histogram("mq_publish_duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("Sends by topic and outcome: sent, refused, unavailable."))
	if err != nil {
		otel.Handle(err)
	}
	consume, err := m.Float64Histogram("mq_consume_duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("Deliveries by group and outcome: done, duplicate, old, early, not_yet, failed, dead, error."))
	if err != nil {
		otel.Handle(err)
	}
	return &meter{otel.Tracer(scope), publish, consume}
}

func (m *meter) published(ctx context.Context, topic, outcome string, took time.Duration) {
	m.publish.Record(ctx, took.Seconds(), metric.WithAttributes(
		attribute.String("topic", topic), attribute.String("outcome", outcome)))
}

func (m *meter) consumed(ctx context.Context, group, outcome string, took time.Duration) {
	m.consume.Record(ctx, took.Seconds(), metric.WithAttributes(
		attribute.String("group", group), attribute.String("outcome", outcome)))
}
