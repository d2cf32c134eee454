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
// sweep begins with what is left.
const patience = lease - 500*time.Millisecond

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return loop.Every(s.times.Every, patience, "sweep", s.Sweep)(ctx)
}

const (
	// lease is how long a sweeper keeps an attempt to itself. It is also the pause between two looks at the same attempt.
	lease = 3 * time.Second
	// hearing is how long the coordinator may take for an answer: enough to turn to its second instance when the first is frozen, and it leaves
	// time for the alarms when there is none.
	hearing = 2 * time.Second
	// noting is how long a look may take to be noted.
	noting = 500 * time.Millisecond
)

// Sweep looks at the overdue attempts that no other sweeper has, those looked at longest ago first, until ctx ends, and clears the alerts of
// those that have settled.
func (s *Sweeper) Sweep(ctx context.Context) error {
	overdue, err := s.store.LeaseOverdue(ctx, s.times.OldEnough, lease, 100)
	if err != nil {
		return err
	}
	calmed := s.calm(ctx)
	asks := true
	for i, a := range overdue {
		err := s.attend(ctx, a, asks)
		if ctx.Err() != nil && i > 0 {
			break // it had less time than the first, which it will be in the next sweep
		}
		asks = asks && !errors.Is(err, errSilent)
		s.looked(ctx, a)
	}
	return calmed
}

// looked notes that a was looked at, also when the sweep's time is over.
func (s *Sweeper) looked(ctx context.Context, a mysql.Overdue) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noting)
	defer cancel()
	if err := s.store.Looked(ctx, a.GID); err != nil {
		slog.WarnContext(ctx, "look not noted", "gid", a.GID, "err", err)
	}
}

// attend looks at one overdue attempt, and asks the coordinator about it if asks is true.
func (s *Sweeper) attend(ctx context.Context, a mysql.Overdue, asks bool) (err error) {
	ctx, span := s.tracer.Start(telemetry.Begin(ctx), "overdue "+string(a.Kind))
	defer span.End()
	telemetry.Note(ctx, slog.String("order", a.OrderID), slog.String("gid", a.GID))
	log := slog.With("kind", a.Kind, "age", a.Age.String())
	var wrong problem
	if asks {
		wrong, err = s.look(ctx, a, log)
	}
	if err != nil {
		span.SetStatus(codes.Error, "nothing was learnt")
		log.WarnContext(ctx, "overdue transaction", "err", err)
	}
	if wrong == (problem{}) && a.Age >= s.times.Alert {
		if now, err := s.store.Attempt(ctx, a.Kind, a.GID); err == nil && now.Open {
			wrong = lasts(a)
		}
	}
	if wrong != (problem{}) {
		if err := s.alarm(ctx, a, wrong); err != nil {
			log.WarnContext(ctx, "alert", "err", err)
		}
	}
	return err
}

// errSilent is returned when the coordinator does not answer. The rest of the sweep need not wait for it too.
var errSilent = errors.New("the coordinator does not answer")

// look learns where a stands and does what can be done about it. It returns what is wrong when only a person can.
func (s *Sweeper) look(ctx context.Context, a mysql.Overdue, log *slog.Logger) (wrong problem, err error) {
	// The coordinator first, then the row: once it says that the transaction succeeded, the attempt must be DONE.
	status, err := s.ask(ctx, a.GID)
	if err != nil {
		return wrong, fmt.Errorf("%w: %w", errSilent, err)
	}
	progress, err := s.store.Attempt(ctx, a.Kind, a.GID)
	if err != nil {
		return wrong, err
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
		wrong = undecided(a, status, progress.Held)
	}
	return wrong, err
}

func (s *Sweeper) ask(ctx context.Context, gid string) (tcc.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	return s.coordinator.Status(ctx, gid)
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
