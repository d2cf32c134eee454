package checkout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/order/internal/mysql"
)

// Sweeper looks after attempts that stay OPEN. Several instances share the work by leases. It never writes PAID or CANCELED; only Confirm and
// Cancel do.
type Sweeper struct {
	store       *mysql.Store
	coordinator *tcc.Coordinator
	alerts      *alert.Alerts
	times       SweepTimes
	verdicts    metric.Int64Counter
	tracer      trace.Tracer
}

// SweepTimes are in whole seconds by the database's clock, except Every.
type SweepTimes struct {
	// Every is the pause between two sweeps.
	Every time.Duration `yaml:"every"`
	// OldEnough is the age from which an attempt is looked at. It is more than the coordinator's time-out.
	OldEnough time.Duration `yaml:"old_enough"`
	// Alert is the age from which an alert is raised for an attempt that does not settle.
	Alert time.Duration `yaml:"alert"`
}

// NewSweeper returns a sweeper that raises alerts through alerts; Run starts it.
func NewSweeper(store *mysql.Store, c *tcc.Coordinator, alerts *alert.Alerts, times SweepTimes) *Sweeper {
	verdicts, err := otel.Meter(scope).Int64Counter("order_sweep_verdicts",
		metric.WithDescription("Overdue payment attempts by what the sweeper did: wait, abandon, hasten, alarm."))
	if err != nil {
		otel.Handle(err)
	}
	if err := measureOpen(store); err != nil {
		otel.Handle(err)
	}
	return &Sweeper{store, c, alerts, times, verdicts, otel.Tracer(scope)}
}

// patience bounds one sweep: a database that fell silent must not delay the next one, and a sweeper that lost its lease must not go on. The next
// sweep takes up what is left.
const patience = lease - 500*time.Millisecond

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return loop.Every(s.times.Every, patience, "sweep", s.Sweep)(ctx)
}

// lease is how long a sweeper keeps an attempt to itself. It is also the pause between two looks at the same attempt.
const lease = 3 * time.Second

// Sweep looks once at every overdue attempt that no other sweeper has, and clears the alerts of those that have settled.
func (s *Sweeper) Sweep(ctx context.Context) error {
	overdue, err := s.store.LeaseOverdue(ctx, s.times.OldEnough, lease, 100)
	if err != nil {
		return err
	}
	calmed := s.calm(ctx)
	asks := true
	for _, a := range overdue {
		if err := s.attend(ctx, a, asks); errors.Is(err, errSilent) {
			asks = false
		}
	}
	return calmed
}

// attend looks at one overdue attempt, and asks the coordinator about it if asks is true.
func (s *Sweeper) attend(ctx context.Context, a mysql.Overdue, asks bool) error {
	ctx, span := s.tracer.Start(telemetry.Begin(ctx), "overdue "+string(a.Kind))
	defer span.End()
	telemetry.Note(ctx, slog.String("order", a.OrderID), slog.String("gid", a.GID))
	log := slog.With("kind", a.Kind, "age", a.Age.String())
	var verdict Verdict
	var err error
	if asks {
		verdict, err = s.look(ctx, a, log)
	}
	if a.Age >= s.times.Alert && verdict != Alarm { // an Alarm has raised its own
		if now, err := s.store.Attempt(ctx, a.Kind, a.GID); err == nil && now.Open {
			log.ErrorContext(ctx, "ALARM: a transaction does not settle")
			summary, detail := lasts(a)
			if err := s.alarm(ctx, a, summary, detail); err != nil {
				log.WarnContext(ctx, "alert", "err", err)
			}
		}
	}
	if err != nil {
		span.SetStatus(codes.Error, "nothing was learnt")
		log.WarnContext(ctx, "overdue transaction", "err", err)
	}
	return err
}

// errSilent is returned when the coordinator does not answer. The rest of the sweep need not wait for it too.
var errSilent = errors.New("the coordinator does not answer")

// hearing bounds one question to the coordinator. What is left of the sweep's patience is for the alerts.
const hearing = patience - 500*time.Millisecond

// look asks the coordinator about a and does what Judge decides, which it returns.
func (s *Sweeper) look(ctx context.Context, a mysql.Overdue, log *slog.Logger) (Verdict, error) {
	// The coordinator first, then the row: once it says that the transaction succeeded, the attempt must be DONE.
	asking, cancel := context.WithTimeout(ctx, hearing)
	status, err := s.coordinator.Status(asking, a.GID)
	cancel()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errSilent, err)
	}
	progress, err := s.store.Attempt(ctx, a.Kind, a.GID)
	if err != nil {
		return "", err
	}
	v := Judge(status, progress)
	s.verdicts.Add(ctx, 1, metric.WithAttributes(attribute.String("verdict", string(v))))
	switch v {
	case Abandon:
		log.InfoContext(ctx, "attempt abandoned", "coordinator", string(status))
		_, err = s.store.AbandonAttempt(ctx, a.Kind, a.OrderID, a.GID)
	case Hasten:
		err = s.coordinator.RetryNow(ctx, a.GID)
	case Alarm:
		log.ErrorContext(ctx,
			"ALARM: the coordinator is through with a transaction whose attempt is open: its log was lost or the books are wrong",
			"coordinator", string(status), "held", progress.Held)
		summary, detail := undecided(a, status, progress.Held)
		err = s.alarm(ctx, a, summary, detail)
	}
	return v, err
}

// Verdict is what the sweeper does about an overdue attempt.
type Verdict string

// The verdicts.
const (
	// Wait: the coordinator's time-out is still to come, or the attempt ended while we looked.
	Wait Verdict = "wait"
	// Abandon the attempt: its transaction will do nothing, and the order was not touched.
	Abandon Verdict = "abandon"
	// Hasten the coordinator's next retry.
	Hasten Verdict = "hasten"
	// Alarm changes nothing and raises an alert.
	Alarm Verdict = "alarm"
)

// Judge decides what to do about an attempt. status must have been read before progress.
func Judge(status tcc.Status, progress mysql.Progress) Verdict {
	if !progress.Open {
		return Wait
	}
	switch status {
	case tcc.Submitted, tcc.Aborting:
		return Hasten
	case tcc.Unknown, tcc.Failed:
		if progress.Held {
			return Alarm
		}
		return Abandon
	case tcc.Succeeded:
		return Alarm
	default: // prepared: hastening would delay the time-out
		return Wait
	}
}
