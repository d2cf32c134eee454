package failover

import (
	"context"

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
