//go:build patched

// Package dtmsvr is part of DTM's package of that name: build.sh copies this file next to DTM's own, and makes its Submit call submitTCC.
package dtmsvr

import (
	"errors"
	"fmt"

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
	t, err := findTCC(request)
	if err != nil {
		return err
	}
	if t.Status == dtmcli.StatusPrepared {
		err := dtmimp.CatchP(func() { t.changeStatus(dtmcli.StatusSubmitted) })
		if err == nil {
			// Not earlier: a branch can be registered until the status changes.
			return t.Process(GetStore().FindBranches(t.Gid))
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
		return nil, fmt.Errorf("there is no transaction %s to submit: prepare it and register its branches first. %w", request.Gid,
			dtmcli.ErrFailure)
	}
	return &TransGlobal{TransGlobalStore: *stored, Context: request.Context}, nil
}
