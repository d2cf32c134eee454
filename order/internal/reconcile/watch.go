package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/order/internal/mysql"
)

// Watch checks regularly and exports the results as metrics. Of several instances one makes each check, and all show the same: the result is
// kept in the database.
//
//   - conservation_violations{check}: rows that break the rule, up to 100.
//   - conservation_duration_seconds, conservation_finished_timestamp_seconds: of the last check. A check that cannot be made changes
//     nothing, so a finished timestamp that grows old is an alarm too.
type Watch struct {
	comparator  *Comparator
	store       *mysql.Store
	alerts      *alert.Alerts
	every, open time.Duration
	last        atomic.Pointer[mysql.LastCheck]
}

// NewWatch returns a watch that checks every so often and raises alerts through alerts; Run starts it. open is as in Comparator.Run.
func NewWatch(c *Comparator, store *mysql.Store, alerts *alert.Alerts, every, open time.Duration) *Watch {
	w := &Watch{comparator: c, store: store, alerts: alerts, every: every, open: open}
	w.last.Store(&mysql.LastCheck{})
	if err := w.measure(otel.Meter("example.com/fourfold/order")); err != nil {
		otel.Handle(err)
	}
	return w
}

func (w *Watch) measure(meter metric.Meter) error {
	violations, err := meter.Int64ObservableGauge("conservation_violations",
		metric.WithDescription("Rows that break a rule of the books, by check, up to 100."))
	if err != nil {
		return err
	}
	duration, err := meter.Float64ObservableGauge("conservation_duration", metric.WithUnit("s"),
		metric.WithDescription("How long the last check of the books took."))
	if err != nil {
		return err
	}
	finished, err := meter.Float64ObservableGauge("conservation_finished_timestamp", metric.WithUnit("s"),
		metric.WithDescription("When the last check of the books ended, in seconds since 1970 by the database's clock."))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		last := w.last.Load()
		if last.FinishedAt.IsZero() {
			return nil
		}
		for check, n := range last.Violations {
			o.ObserveInt64(violations, n, metric.WithAttributes(attribute.String("check", check)))
		}
		o.ObserveFloat64(duration, last.Took.Seconds())
		o.ObserveFloat64(finished, float64(last.FinishedAt.UnixMilli())/1000)
		return nil
	}, violations, duration, finished)
	return err
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	pause := w.every / 12
	backoff.Sleep(ctx, pause) // at the start of everything the others may not answer yet, and the turn would be lost
	return loop.Every(pause, patience, "the books could not be checked", w.look)(ctx)
}

// patience bounds one check. It is longer than any timeout of the services.
const patience = time.Minute

// look makes a check if it is this instance's turn, and loads the result of the last one, made here or elsewhere.
func (w *Watch) look(ctx context.Context) error {
	mine, err := w.store.ClaimCheck(ctx, w.every)
	if err != nil {
		return err
	}
	if mine {
		if err := w.check(ctx); err != nil {
			return err
		}
	}
	last, err := w.store.LastCheck(ctx)
	if err != nil {
		return err
	}
	w.last.Store(&last)
	return nil
}

func (w *Watch) check(ctx context.Context) error {
	report, err := w.comparator.Run(ctx, w.open)
	if err != nil {
		return err
	}
	counts := map[string]int64{}
	for _, c := range report.Checks {
		counts[c.Name] = int64(len(c.Violations))
		if err := w.call(ctx, c); err != nil {
			slog.WarnContext(ctx, "alert", "check", c.Name, "err", err)
		}
	}
	return w.store.KeepCheck(ctx, report.Took, counts)
}

// call raises an alert for a failing check and clears it when the check passes.
func (w *Watch) call(ctx context.Context, c ledger.Check) error {
	key := "books/" + c.Name
	if len(c.Violations) == 0 {
		return w.alerts.Clear(ctx, key)
	}
	return w.alerts.Raise(ctx, key, fmt.Sprintf("The books do not add up: %s, %d row(s)", c.Name, len(c.Violations)),
		fmt.Sprintf("Look at them now: GET /v1/ops/conservation, or make conserve. What they were:\n%s\n", strings.Join(c.Violations, "\n")))
}
