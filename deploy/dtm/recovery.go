package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/dtmsvr"

	"example.com/fourfold/deploy/dtm/deadlock"
)

// unfinished are the statuses that recovery takes up. Each has a recovery of its own: transactions that wait for a participant in thousands
// delay neither the time-outs (prepared) nor those that are decided the other way.
var unfinished = []string{"prepared", "submitted", "aborting"}

// recovery works on the overdue transactions with one status.
type recovery struct {
	db      *sql.DB
	status  string
	workers int           // how many transactions at a time
	pause   time.Duration // between two looks when none is overdue
	hold    time.Duration // how long a transaction that was taken is not overdue, for this instance and all others
}

// run works on overdue transactions, the longest overdue first, until ctx ends; then it finishes those that it has. One that fails is overdue
// again after those that have waited meanwhile, so none keeps the others waiting.
func (r recovery) run(ctx context.Context) {
	busy := make(chan struct{}, r.workers)
	var working sync.WaitGroup
	defer working.Wait()
	healthy := true
	for ctx.Err() == nil {
		busy <- struct{}{}
		gid, err := r.take(ctx)
		if err != nil && healthy && ctx.Err() == nil {
			slog.Error("overdue transactions wait until the database answers again", "status", r.status, "err", err)
		}
		healthy = err == nil
		if gid != "" {
			working.Go(func() {
				defer func() { <-busy }()
				work(context.WithoutCancel(ctx), gid)
			})
			continue
		}
		<-busy
		select {
		case <-ctx.Done():
		case <-time.After(r.pause - rand.N(time.Second)): // instances drift apart
		}
	}
}

// oldestOverdue reads one entry of the index, however many are overdue. Without the hint another index that begins with the status may be
// chosen, and everything that is overdue be sorted. A locked row is passed over: another instance is taking it, a call is changing it, or a host
// that vanished has left it locked.
const (
	overdue       = " FROM trans_global FORCE INDEX (status_next_cron_time) WHERE status = ? AND next_cron_time < ?"
	oldestOverdue = "SELECT id, gid" + overdue + " ORDER BY next_cron_time LIMIT 1 FOR UPDATE SKIP LOCKED"
)

// take makes the transaction that is overdue for longest not overdue for r.hold, and returns its gid; "" when there is none. When the process
// dies, another one takes it after r.hold.
func (r recovery) take(ctx context.Context) (gid string, err error) {
	now := time.Now().Truncate(time.Second) // as precise as the column
	// Mostly none is, and a look without a lock costs one round trip.
	var any bool
	if err := r.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1"+overdue+")", r.status, now).Scan(&any); err != nil || !any {
		return "", err
	}
	err = deadlock.Repeat("take up", r.status, func() error {
		tx, err := r.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		var id int64
		if err := tx.QueryRowContext(ctx, oldestOverdue, r.status, now).Scan(&id, &gid); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE trans_global SET update_time = ?, next_cron_time = ? WHERE id = ?", now, now.Add(r.hold), id)
		if err != nil {
			return err
		}
		return tx.Commit()
	})
	if err != nil {
		gid = ""
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return gid, err
}

// work makes one attempt: it calls the branches that are not done, up to the first that fails. DTM itself logs what failed and sets the time of
// the next attempt.
func work(ctx context.Context, gid string) {
	defer func() {
		if x := recover(); x != nil { // as DTM says that its database does not answer
			slog.Error("an overdue transaction waits for its next attempt", "gid", gid, "err", x, "stack", string(debug.Stack()))
		}
	}()
	store := dtmsvr.GetStore()
	t := dtmsvr.TransGlobal{TransGlobalStore: *store.FindTransGlobalStore(gid), Context: ctx}
	t.WaitResult = true
	_ = t.Process(store.FindBranches(gid))
}
