package mq

import (
	"context"
	"database/sql"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Rows counts open rows of outbox (READY, HALF) or inbox (WAITING, DEAD).
type Rows struct {
	Box, Group, State string
	Count             int64
	Oldest            time.Duration
}

// OpenRows counts the open rows in db. Closed rows are history, and may be millions.
func OpenRows(ctx context.Context, db *sql.DB) ([]Rows, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT 'outbox', '', state, COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(created_at), NOW(3)) FROM mq_outbox
			WHERE state IN ('READY', 'HALF') GROUP BY state
		UNION ALL
		SELECT 'inbox', grp, state, COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(created_at), NOW(3)) FROM mq_inbox
			WHERE state IN ('WAITING', 'DEAD') GROUP BY grp, state`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []Rows
	for rows.Next() {
		var (
			r  Rows
			us int64
		)
		if err := rows.Scan(&r.Box, &r.Group, &r.State, &r.Count, &us); err != nil {
			return nil, err
		}
		r.Oldest = time.Duration(us) * time.Microsecond
		all = append(all, r)
	}
	return all, rows.Err()
}

// Observe registers metrics of db's open rows, which are counted whenever the metrics are read: mq_outbox_rows and mq_outbox_oldest_seconds by
// state, mq_inbox_rows and mq_inbox_oldest_seconds by group and state.
func Observe(db *sql.DB) error {
	m := otel.Meter(scope)
	counts, ages := map[string]metric.Int64ObservableGauge{}, map[string]metric.Float64ObservableGauge{}
	var all []metric.Observable
	for _, box := range []string{"outbox", "inbox"} {
		count, err := m.Int64ObservableGauge("mq_"+box+"_rows", metric.WithDescription("Open rows of the "+box+"."))
		if err != nil {
			return err
		}
		age, err := m.Float64ObservableGauge("mq_"+box+"_oldest", metric.WithUnit("s"),
			metric.WithDescription("Age of the oldest open row of the "+box+"."))
		if err != nil {
			return err
		}
		counts[box], ages[box] = count, age
		all = append(all, count, age)
	}
	_, err := m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		rows, err := OpenRows(ctx, db)
		for _, r := range rows {
			labels := metric.WithAttributes(attribute.String("group", r.Group), attribute.String("state", r.State))
			o.ObserveInt64(counts[r.Box], r.Count, labels)
			o.ObserveFloat64(ages[r.Box], r.Oldest.Seconds(), labels)
		}
		return err
	}, all...)
	return err
}
