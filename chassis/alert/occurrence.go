package alert

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	alertv1 "example.com/fourfold/api/alert/v1"
)

// Occurrence is one of several times at which something is so, and then is not any more. Instances that see the same one, early or late, tell it
// once, and its end once.
type Occurrence struct {
	alerts *Alerts
	n      int64
}

// Of returns the nth occurrence. n is positive, and the same for all instances: the time at which it began, for example.
func (a *Alerts) Of(n int64) Occurrence { return Occurrence{a, n} }

// Raise is Alerts.Raise, unless o was told before and is over.
func (o Occurrence) Raise(ctx context.Context, key, summary, detail string) error {
	return o.alerts.raise(ctx, key, o.n, summary, detail)
}

// Over ends the alert key if o is what it was raised for, and tells operators so. Otherwise it does nothing. Any error means that nobody
// was told.
func (o Occurrence) Over(ctx context.Context, key, summary, detail string) error {
	over := false
	err := o.alerts.outbox.InTx(ctx, func(tx *sql.Tx) error {
		over = false
		var (
			times      int32
			since, now time.Time
		)
		err := tx.QueryRowContext(ctx, `SELECT times, since, NOW(3) FROM alert
			WHERE name = ? AND occurrence = ? AND cleared_at IS NULL FOR UPDATE`,
			short(key), o.n).Scan(&times, &since, &now)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil // another instance was quicker
		case err != nil:
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE alert SET cleared_at = NOW(3) WHERE name = ?`, short(key)); err != nil {
			return err
		}
		over = true
		return o.alerts.append(ctx, tx, now, &alertv1.Raised{Key: key, Summary: summary, Detail: detail, Times: times,
			Since: timestamppb.New(since), Over: true})
	})
	if err == nil && over {
		slog.WarnContext(ctx, "ALARM over: "+summary, "alert", key)
	}
	return err
}

// last returns the occurrence for which the alert key was last raised, and whether it lasts; 0 when there is none.
func (a *Alerts) last(ctx context.Context, key string) (n int64, lasts bool, err error) {
	err = a.db.QueryRowContext(ctx, `SELECT occurrence, cleared_at IS NULL FROM alert WHERE name = ?`, short(key)).Scan(&n, &lasts)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n, lasts, err
}
