package audit

import (
	"context"
	"database/sql"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Result is what a group knows about the events of one publisher.
type Result struct {
	Group, Topic, Publisher string
	// CompleteAt is when nothing was missing last, and ResentAt when events were sent again last; zero if never.
	CompleteAt, ResentAt time.Time
	// Events is how many were compared the last time, and Resent how many were ever sent again.
	Events, Resent int64
	LastError      string
}

// Results returns what the groups that use db know.
func Results(ctx context.Context, db *sql.DB) ([]Result, error) {
	rows, err := db.QueryContext(ctx, `SELECT grp, topic, publisher, complete_at, resent_at, events, resent, last_error FROM mq_audit
		ORDER BY grp, publisher`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []Result
	for rows.Next() {
		var (
			r                Result
			complete, resent sql.NullTime
		)
		if err := rows.Scan(&r.Group, &r.Topic, &r.Publisher, &complete, &resent, &r.Events, &r.Resent, &r.LastError); err != nil {
			return nil, err
		}
		r.CompleteAt, r.ResentAt = complete.Time, resent.Time
		all = append(all, r)
	}
	return all, rows.Err()
}

// Observe registers metrics of the results in db, read whenever the metrics are: mq_audit_resent_total and mq_audit_complete_timestamp_seconds
// by group and publisher.
func Observe(db *sql.DB) error {
	m := otel.Meter("example.com/fourfold/chassis/mq/audit")
	resent, err := m.Int64ObservableCounter("mq_audit_resent", metric.WithDescription("Events that were sent, did not come, and were sent again."))
	if err != nil {
		return err
	}
	complete, err := m.Float64ObservableGauge("mq_audit_complete_timestamp", metric.WithUnit("s"),
		metric.WithDescription("When all that was sent was last found to have come."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		all, err := Results(ctx, db)
		for _, r := range all {
			labels := metric.WithAttributes(attribute.String("group", r.Group), attribute.String("publisher", r.Publisher))
			o.ObserveInt64(resent, r.Resent, labels)
			if !r.CompleteAt.IsZero() {
				o.ObserveFloat64(complete, float64(r.CompleteAt.UnixMilli())/1000, labels)
			}
		}
		return err
	}, resent, complete)
	return err
}
