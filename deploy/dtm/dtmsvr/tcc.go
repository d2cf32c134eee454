//go:build patched

package dtmsvr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/dtmsvr/storage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"example.com/fourfold/deploy/dtm/servers"
)

// tcc works on one transaction. build.sh puts it in the place of DTM's own processor, from which it differs in three things: all branches come with
// Prepare, the first calls of all but the first branch are made at the same time, and a call that succeeded is not written down, because it may be
// repeated: its participant's barrier answers then.
type tcc struct{ *TransGlobal }

func init() { registorProcessorCreator("tcc", func(t *TransGlobal) transProcessor { return tcc{t} }) }

// prepareTCC saves a transaction with its branches, and tells the caller how many are kept. It may be repeated until the transaction is decided. It
// returns ErrFailure for a request without branches, or with one that has no payload of its own.
func prepareTCC(t *TransGlobal) error {
	if len(t.Steps) == 0 || len(t.Steps) != len(t.BinPayloads) {
		return fmt.Errorf("%d branches and %d payloads came with Prepare of %s: it must name all branches, each with its request. %w",
			len(t.Steps), len(t.BinPayloads), t.Gid, dtmcli.ErrFailure)
	}
	kept, err := t.saveNew()
	switch {
	case err == nil:
		opened.put(t, kept)
	case !errors.Is(err, storage.ErrUniqueConflict):
		return err
	default:
		if before := GetTransGlobal(t.Gid); before.Status != dtmcli.StatusPrepared {
			return fmt.Errorf("transaction %s is %s and cannot be prepared again. %w", t.Gid, before.Status, dtmcli.ErrFailure)
		}
		kept = GetStore().FindBranches(t.Gid)
	}
	// Who sends branches learns of a coordinator that has not kept them. Each is kept for its Confirm and its Cancel.
	return grpc.SetHeader(t.Context, metadata.Pairs("branches", strconv.Itoa(len(kept)/2)))
}

// GenBranches returns the rows of the branches that Prepare names: a step has a branch's id, and the addresses of its confirm and cancel; the
// payload with its number is the request of both.
func (t tcc) GenBranches() []TransBranch {
	rows := []TransBranch{}
	for i, step := range t.Steps {
		for _, op := range []string{dtmimp.OpCancel, dtmimp.OpConfirm} {
			rows = append(rows, TransBranch{Gid: t.Gid, BranchID: step["branch"], BinData: t.BinPayloads[i], URL: step[op], Op: op,
				Status: dtmcli.StatusPrepared})
		}
	}
	return rows
}

// ProcessOnce calls Confirm or Cancel of every branch that is not done, and that of the first, the initiator's, when all others have succeeded: what
// that one shows is true of all. The process that prepared the transaction makes the other calls at the same time. Afterwards, and elsewhere, they
// are made one after another from the last branch on, until one fails: a person may have decided otherwise about what a log has lost for a
// while, and begins there too. So one of both ends the branch, and the other one ends nothing.
func (t tcc) ProcessOnce(ctx context.Context, rows []TransBranch) error {
	if !t.needProcess() {
		return nil
	}
	if t.Status == dtmcli.StatusPrepared {
		t.changeStatus(dtmcli.StatusAborting, withRollbackReason(fmt.Sprintf("Timeout after %d seconds", t.TimeoutToFail)))
	}
	op, end := dtmimp.OpConfirm, dtmcli.StatusSucceed
	if t.Status == dtmcli.StatusAborting {
		op, end = dtmimp.OpCancel, dtmcli.StatusFailed
	}
	var first, others []*TransBranch
	for i := range rows {
		switch b := &rows[i]; {
		case b.Op != op || b.Status != dtmcli.StatusPrepared:
		case b.BranchID == rows[0].BranchID:
			first = append(first, b)
		default:
			others = append(others, b)
		}
	}
	var err error
	if known, _ := opened.take(t.Gid); known != nil {
		err = t.call(ctx, others...)
	} else {
		for i := len(others) - 1; i >= 0 && err == nil; i-- {
			err = t.call(ctx, others[i])
		}
	}
	if err == nil {
		err = t.call(ctx, first...)
	}
	if err != nil {
		t.postpone(append(others, first...))
		return err
	}
	t.changeStatus(end)
	return nil
}

// call calls all of branches at the same time, and notes in each how that went.
func (t tcc) call(ctx context.Context, branches ...*TransBranch) error {
	// No other process takes the transaction up while a call is under way.
	if next := t.NextCronTime; next == nil || time.Until(*next) < time.Duration(conf.RequestTimeout+1)*time.Second {
		t.touchCronTime(cronKeep, 0)
	}
	errs := make([]error, len(branches))
	var calls sync.WaitGroup
	for i, b := range branches {
		calls.Go(func() {
			var err error
			// DTM panics for an address that it cannot dial, and CatchP logs a panic.
			panicked := dtmimp.CatchP(func() { _, err = t.getBranchResult(ctx, b) })
			errs[i] = cmp.Or(panicked, err)
		})
	}
	calls.Wait()
	now := time.Now()
	for i, b := range branches {
		branchMetrics(t.TransGlobal, b, errs[i] == nil)
		b.UpdateTime = &now
		if errs[i] == nil {
			b.Status, b.FinishTime = dtmcli.StatusSucceed, &now
			continue
		}
		b.Tries++
		b.LastError = cut(errs[i].Error())
	}
	return errors.Join(errs...)
}

// cut returns as much of text as the column last_error takes.
func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), 500)], "")
}

// postpone writes down how the calls went, so that those that succeeded are not repeated with each attempt, and when the next attempt is due:
// after 1, 2, 4 … seconds.
func (t tcc) postpone(called []*TransBranch) {
	// They may have been made from memory, without the ids of their rows.
	rows, tries := GetStore().FindBranches(t.Gid), int64(1)
	changed := rows[:0]
	for _, row := range rows {
		for _, b := range called {
			if b.BranchID == row.BranchID && b.Op == row.Op && (b.Status == dtmcli.StatusSucceed || b.Tries > row.Tries) {
				row.Status, row.FinishTime, row.UpdateTime, row.Tries, row.LastError = b.Status, b.FinishTime, b.UpdateTime, b.Tries, b.LastError
				changed, tries = append(changed, row), max(tries, b.Tries)
			}
		}
	}
	if len(changed) > 0 {
		GetStore().LockGlobalSaveBranches(t.Gid, t.Status, changed, 0)
	}
	t.touchCronTime(cronKeep, uint64(min(int64(1)<<min(tries-1, 10), int64(servers.LongestRetry/time.Second))))
}
