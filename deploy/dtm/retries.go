package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"example.com/fourfold/deploy/dtm/deadlock"
)

// keepRetriesClose keeps the retries of decided (submitted or aborting) transactions close together until ctx ends. First it makes all of them
// due, so that whatever the previous process left half done goes on at once. From then on none waits longer than longest; DTM itself doubles
// the pause without end. The number of recovery workers, not the pause, bounds the load of many retries.
func keepRetriesClose(ctx context.Context, db *sql.DB, longest time.Duration) error {
	err := due(ctx, db, 0, longest)
	healthy := true
	for {
		if err != nil && healthy && ctx.Err() == nil {
			slog.Error("retries are not kept close until the database answers again", "err", err)
		}
		healthy = err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
		err = due(ctx, db, longest, longest)
	}
}

// due moves the next attempt of every decided transaction to at most within from now and limits its pause to longest. It leaves prepared ones
// alone: moving their attempt would delay their time-out.
func due(ctx context.Context, db *sql.DB, within, longest time.Duration) error {
	latest := time.Now().Add(within).Truncate(time.Second)
	// Rows are changed one by one by primary key, the order in which DTM locks them: a change through the index could deadlock with it.
	rows, err := db.QueryContext(ctx,
		"SELECT id FROM trans_global WHERE status IN ('submitted', 'aborting') AND next_cron_time > ?", latest)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		err := deadlock.Repeat("retries", fmt.Sprint("id ", id), func() error {
			_, err := db.ExecContext(ctx,
				"UPDATE trans_global SET next_cron_time = ?, next_cron_interval = LEAST(next_cron_interval, ?)"+
					" WHERE id = ? AND status IN ('submitted', 'aborting') AND next_cron_time > ?",
				latest, int64(longest/time.Second), id, latest)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
