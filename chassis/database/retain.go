package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/fourfold/chassis/loop"
)

// Retention says how long rows of a table are kept. Table, Column and Where are SQL of the program, never input.
type Retention struct {
	Table string
	// Where selects the rows it is for, all when empty.
	Where string
	// Column holds the row's time.
	Column string
	// Keep 0 keeps rows for ever.
	Keep time.Duration
}

const (
	retainEvery = 10 * time.Minute
	// retainPatience is for one table; the rest is deleted the next time.
	retainPatience = time.Hour
	retainBatch    = 1000
	retainPause    = 50 * time.Millisecond
)

// Retain returns background work that deletes rows older than rules keep them, by the database's clock, in small batches with pauses, so that it
// never holds up a call. Several instances may run it.
func Retain(db *sql.DB, rules ...Retention) func(context.Context) error {
	return loop.Every(retainEvery, time.Duration(len(rules)+1)*retainPatience, "delete old rows", func(ctx context.Context) error {
		var failed []error
		for _, r := range rules {
			n, err := r.apply(ctx, db)
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("of %s: %w", r.Table, err))
			} else if n > 0 {
				slog.InfoContext(ctx, "deleted old rows", "table", r.Table, "rows", n)
			}
		}
		return errors.Join(failed...)
	})
}

// apply deletes all rows that are due and returns how many.
func (r Retention) apply(ctx context.Context, db *sql.DB) (total int64, err error) {
	if r.Keep <= 0 {
		return 0, nil
	}
	where := ""
	if r.Where != "" {
		where = " AND (" + r.Where + ")"
	}
	ctx, cancel := context.WithTimeout(ctx, retainPatience)
	defer cancel()
	stmt := fmt.Sprintf("DELETE FROM %s WHERE %s < TIMESTAMPADD(SECOND, ?, NOW())%s LIMIT %d", r.Table, r.Column, where, retainBatch)
	for {
		res, err := db.ExecContext(ctx, stmt, -int64(r.Keep/time.Second))
		if err != nil {
			return total, err
		}
		n, err := res.RowsAffected()
		if total += n; err != nil || n < retainBatch {
			return total, err
		}
		select {
		case <-ctx.Done():
			return total, ctx.Err()
		case <-time.After(retainPause):
		}
	}
}
