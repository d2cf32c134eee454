//go:build patched

// Package dtmsvr is part of DTM's package of that name: build.sh copies these files next to DTM's own, and makes its Submit call submitTCC.
package dtmsvr

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/dtmsvr/storage"
)

// submitTCC decides that the transaction of request is confirmed. It may be called any number of times, in sequence or concurrently, at any
// instance: the call that changes prepared to submitted confirms the branches; every other one finds the transaction decided and only returns
// nil. When the process of that one call dies, or does not learn that its change was committed, recovery confirms the branches, as it does for
// any submitted transaction.
//
// submitTCC returns ErrFailure, which is final, when the transaction is being canceled, and when there is none: as a caller submits only what it
// has prepared, the log has lost the transaction and its branches.
func submitTCC(request *TransGlobal) error {
	t, branches := opened.get(request.Gid)
	if t == nil {
		var err error
		if t, err = findTCC(request); err != nil {
			return err
		}
	}
	t.Context = request.Context
	if t.Status == dtmcli.StatusPrepared {
		err := dtmimp.CatchP(func() { t.changeStatus(dtmcli.StatusSubmitted) })
		if err == nil {
			if branches == nil {
				branches = GetStore().FindBranches(t.Gid)
			}
			return t.Process(branches)
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		// Another call changed it meanwhile, and it never becomes prepared again.
		if t, err = findTCC(request); err != nil {
			return err
		}
	}
	if t.Status == dtmcli.StatusSubmitted || t.Status == dtmcli.StatusSucceed {
		return nil
	}
	return fmt.Errorf("transaction %s is %s and cannot be submitted any more. %w", t.Gid, t.Status, dtmcli.ErrFailure)
}

// findTCC reads the transaction of request from the log, with the options that it was prepared with.
func findTCC(request *TransGlobal) (*TransGlobal, error) {
	stored := GetStore().FindTransGlobalStore(request.Gid)
	if stored == nil {
		return nil, fmt.Errorf("there is no transaction %s to submit: prepare it first. %w", request.Gid, dtmcli.ErrFailure)
	}
	return &TransGlobal{TransGlobalStore: *stored, Context: request.Context}, nil
}

// opened are the transactions that this process has prepared, as they are in the log, until their branches are called or their time is over. Submit
// at this instance need not read them: branches do not change after Prepare, and the status is changed by compare-and-set in the log.
var opened = openTransactions{of: map[string]openTransaction{}}

type openTransactions struct {
	mu sync.Mutex
	of map[string]openTransaction
}

type openTransaction struct {
	t        TransGlobal
	branches []TransBranch
	forget   *time.Timer
}

// put remembers t, which was just prepared with branches.
func (o *openTransactions) put(t *TransGlobal, branches []TransBranch) {
	gid := t.Gid
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of[gid] = openTransaction{TransGlobal{TransGlobalStore: t.TransGlobalStore}, branches,
		time.AfterFunc(time.Duration(max(t.TimeoutToFail, 1))*time.Second, func() { o.take(gid) })}
}

// get returns a copy of what put remembered of gid; nil when there is nothing.
func (o *openTransactions) get(gid string) (*TransGlobal, []TransBranch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known, ok := o.of[gid]
	if !ok {
		return nil, nil
	}
	return &TransGlobal{TransGlobalStore: known.t.TransGlobalStore}, slices.Clone(known.branches)
}

// take is get, and forgets it.
func (o *openTransactions) take(gid string) (*TransGlobal, []TransBranch) {
	t, branches := o.get(gid)
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.of[gid]; ok {
		known.forget.Stop()
		delete(o.of, gid)
	}
	return t, branches
}
