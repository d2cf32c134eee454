package deadlock

import (
	"slices"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/dtmsvr/storage"
)

// Store is DTM's log on an SQL database in which each change of a transaction is repeated after a deadlock. DTM changes its arguments before it
// changes the database, so each attempt gets them as they were. Reads take no locks, and the keys and values of DTM's topics are not used here.
type Store struct{ storage.Store }

// MaySaveNewTrans saves a new transaction, for Prepare.
func (s Store) MaySaveNewTrans(global *storage.TransGlobalStore, branches []storage.TransBranchStore) error {
	restore := keep(global, branches)
	return Repeat("prepare", global.Gid, func() error {
		restore()
		return s.Store.MaySaveNewTrans(global, branches)
	})
}

// LockGlobalSaveBranches registers branches, or marks them as done.
func (s Store) LockGlobalSaveBranches(gid, status string, branches []storage.TransBranchStore, branchStart int) {
	restore := keep(nil, branches)
	dtmimp.E2P(Repeat("branches", gid, func() error {
		restore()
		s.Store.LockGlobalSaveBranches(gid, status, branches, branchStart)
		return nil
	}))
}

// UpdateBranches marks branches as done, those of several transactions at once.
func (s Store) UpdateBranches(branches []storage.TransBranchStore, updates []string) (n int, err error) {
	restore := keep(nil, branches)
	err = Repeat("branches", "several", func() (err error) {
		restore()
		n, err = s.Store.UpdateBranches(branches, updates)
		return err
	})
	return n, err
}

// ChangeGlobalStatus changes the status by compare-and-set on the one that global has.
func (s Store) ChangeGlobalStatus(global *storage.TransGlobalStore, newStatus string, updates []string, finished bool) {
	restore := keep(global, nil)
	dtmimp.E2P(Repeat(newStatus, global.Gid, func() error {
		restore()
		s.Store.ChangeGlobalStatus(global, newStatus, updates, finished)
		return nil
	}))
}

// TouchCronTime sets the time of the next attempt.
func (s Store) TouchCronTime(global *storage.TransGlobalStore, nextCronInterval int64, nextCronTime *time.Time) {
	restore := keep(global, nil)
	dtmimp.E2P(Repeat("next attempt", global.Gid, func() error {
		restore()
		s.Store.TouchCronTime(global, nextCronInterval, nextCronTime)
		return nil
	}))
}

// ResetCronTime makes transactions due.
func (s Store) ResetCronTime(after time.Duration, limit int64) (n int64, more bool, err error) {
	err = Repeat("make due", "several", func() (err error) {
		n, more, err = s.Store.ResetCronTime(after, limit)
		return err
	})
	return n, more, err
}

// ResetTransGlobalCronTime makes one transaction due.
func (s Store) ResetTransGlobalCronTime(global *storage.TransGlobalStore) error {
	return Repeat("make due", global.Gid, func() error { return s.Store.ResetTransGlobalCronTime(global) })
}

// keep returns a function that sets global, if it is not nil, and branches back to what they are now.
func keep(global *storage.TransGlobalStore, branches []storage.TransBranchStore) (restore func()) {
	var g storage.TransGlobalStore
	if global != nil {
		g = *global
	}
	b := slices.Clone(branches)
	return func() {
		if global != nil {
			*global = g
		}
		copy(branches, b)
	}
}
