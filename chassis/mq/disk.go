package mq

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// ObserveDisk registers the metric mq_broker_disk_ratio, which part of d's disk is used. d is asked whenever the metrics are read; while it does
// not answer there is no value.
func ObserveDisk(d Disk) error {
	m := otel.Meter(scope)
	used, err := m.Float64ObservableGauge("mq_broker_disk_ratio", metric.WithDescription("Which part of the broker's disk is used, from 0 to 1."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		ratio, err := d.DiskUsed(ctx)
		if err == nil {
			o.ObserveFloat64(used, ratio)
		}
		return nil // a broker that is away is no failure of the metrics
	}, used)
	return err
}
