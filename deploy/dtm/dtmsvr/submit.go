//go:build patched

// Package dtmsvr is part of DTM's package of that name: build.sh copies this file beside DTM's own, and lets its Submit call it.
package dtmsvr

import (
	"errors"
	"fmt"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/dtmsvr/storage"
)

// submitTCC decides that the transaction of request is to be confirmed. It may be called any number of times, one after another or
// at once, at any instance: the call that changes prepared to submitted confirms the branches, every other one finds that decided and
// only answers nil. When that one call's process dies, or is not told that its change was committed, recovery confirms them, as it does
// with any submitted transaction.
//
// It fails with ErrFailure, which is final, when the transaction is being canceled, and when there is none: who submits has prepared
// it, so the log has lost it, and its branches with it.
func submitTCC(request *TransGlobal) error {
	t, err := findTCC(request)
	if err != nil {
		return err
	}
	if t.Status == dtmcli.StatusPrepared {
		err := dtmimp.CatchP(func() { t.changeStatus(dtmcli.StatusSubmitted) })
		if err == nil {
			// Only now: a branch can be registered until the status changes.
			return t.Process(GetStore().FindBranches(t.Gid))
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		// Somebody else changed it meanwhile, and prepared never comes back.
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
		return nil, fmt.Errorf("there is no transaction %s to submit: prepare it and register its branches first. %w", request.Gid, dtmcli.ErrFailure)
	}
	return &TransGlobal{TransGlobalStore: *stored, Context: request.Context}, nil
}
