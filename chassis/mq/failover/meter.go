package failover

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/fourfold/chassis/mq/redis"
)

const scope = "example.com/fourfold/chassis/mq/failover"

// Observe registers the metrics mq_mode, 1 for the mode that t believes the switch to be in, and mq_mode_epoch.
func Observe(t *Transport) error {
	m := otel.Meter(scope)
	mode, err := m.Int64ObservableGauge("mq_mode", metric.WithDescription("1 for the mode in which events are sent, as this process knows it."))
	if err != nil {
		return err
	}
	epoch, err := m.Int64ObservableGauge("mq_mode_epoch", metric.WithDescription("Grows by one with each change of mode, and when Redis was emptied."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s, _ := t.view.known()
		for _, one := range []redis.Mode{redis.Normal, redis.Degraded, redis.Draining, redis.Handover} {
			value := int64(0)
			if one == s.Mode {
				value = 1
			}
			o.ObserveInt64(mode, value, metric.WithAttributes(attribute.String("mode", string(one))))
		}
		o.ObserveInt64(epoch, s.Epoch)
		return nil
	}, mode, epoch)
	return err
}

// ObserveQueues registers the metrics mq_queue_entries, mq_queue_oldest_seconds, and by group mq_queue_groups: what lies in the queues in Redis,
// since when, and what each group has not settled. Redis is asked whenever the metrics are read; while it does not answer there are no values.
func ObserveQueues(t *Transport) error {
	m := otel.Meter(scope)
	entries, err := m.Int64ObservableGauge("mq_queue_entries", metric.WithDescription("Events in the queues in Redis."))
	if err != nil {
		return err
	}
	oldest, err := m.Float64ObservableGauge("mq_queue_oldest", metric.WithUnit("s"),
		metric.WithDescription("How long ago the oldest event in the queues in Redis was sent, 0 when there is none."))
	if err != nil {
		return err
	}
	groups, err := m.Int64ObservableGauge("mq_queue_groups",
		metric.WithDescription("Events in the queues in Redis that the group has not settled."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		b, err := t.queues.Backlog(ctx)
		if err != nil {
			return nil // a Redis that is away is no failure of the metrics
		}
		o.ObserveInt64(entries, b.Entries)
		age := 0.0
		if b.Entries > 0 {
			age = max(0, time.Since(b.Oldest).Seconds())
		}
		o.ObserveFloat64(oldest, age)
		for _, g := range b.Groups {
			o.ObserveInt64(groups, g.Entries, metric.WithAttributes(attribute.String("group", g.Group)))
		}
		return nil
	}, entries, oldest, groups)
	return err
}
