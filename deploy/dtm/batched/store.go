// Package batched lets changes of the coordinator's log that come at the same time share a local transaction: its commit and its round trip.
package batched

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/dtmsvr/storage"
	"github.com/google/uuid"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
)

// Store is DTM's log on MySQL or MariaDB. The changes that every transaction makes are batched: it is saved with its branches, decided, and ended.
// All others are those of the Store below.
type Store struct {
	storage.Store
	open *sync.Once
	dsn  func() string
	*runners
}

type runners struct {
	saves   *batch.Runner[saving]
	changes *batch.Runner[*change]
}

// New returns a Store over below, on connections of its own to dsn, which is asked for at the first change.
func New(below storage.Store, dsn func() string) Store {
	return Store{Store: below, open: &sync.Once{}, dsn: dsn, runners: &runners{}}
}

// most is how many connections saves take, and changes: batches follow one another, and only one that waits for a lock lets another one begin.
const most = 8

func (s Store) ready() {
	s.open.Do(func() {
		// Changes that wait for a locked row must not keep new transactions waiting.
		s.saves, s.changes = batch.New(s.pool(), saves), batch.New(s.pool(), changes)
	})
}

// pool waits for a locked row for 2 s, so that the neighbours of its change go on soon.
func (s Store) pool() *sql.DB {
	db, err := database.Open(database.Config{DSN: s.dsn(), MaxConns: most})
	dtmimp.E2P(err)
	return db
}

// saving is a new transaction.
type saving struct {
	global   *storage.TransGlobalStore
	branches []storage.TransBranchStore
}

// MaySaveNewTrans saves a new transaction with its branches. It returns storage.ErrUniqueConflict when there is one with its gid.
func (s Store) MaySaveNewTrans(global *storage.TransGlobalStore, branches []storage.TransBranchStore) error {
	if len(branches) == 0 {
		return s.Store.MaySaveNewTrans(global, branches)
	}
	s.ready()
	err := s.saves.Do(context.Background(), saving{global, branches})
	if database.Duplicate(err) {
		return storage.ErrUniqueConflict
	}
	return err
}

func saves() batch.Work[saving] {
	return batch.Work[saving]{Write: func(items []*batch.Item[saving]) ([]batch.Statement, error) {
		var globals, branches batch.Values
		now, seen := time.Now(), map[string]bool{}
		for _, i := range items {
			g := i.Request.global
			if seen[g.Gid] {
				i.Refuse(storage.ErrUniqueConflict)
				continue
			}
			seen[g.Gid] = true
			g.CreateTime, g.UpdateTime = &now, &now
			globals.Add(g.Gid, g.TransType, g.Status, g.QueryPrepared, g.Protocol, now, now, g.FinishTime, g.RollbackTime, g.Options,
				g.CustomData, g.NextCronInterval, g.NextCronTime, g.Owner, g.ExtData, g.Result, g.RollbackReason)
			for _, b := range i.Request.branches {
				branches.Add(b.Gid, b.URL, b.BinData, b.BranchID, b.Op, b.Status, now, now)
			}
		}
		return append(globals.Into("trans_global (gid, trans_type, status, query_prepared, protocol, create_time, update_time, finish_time,"+
			" rollback_time, options, custom_data, next_cron_interval, next_cron_time, owner, ext_data, result, rollback_reason)"),
			branches.Into("trans_branch_op (gid, url, bin_data, branch_id, op, status, create_time, update_time)")...), nil
	}}
}

// change is a change of a transaction's status, and whether it was made.
type change struct {
	gid, from, to string
	// columns are those that change beside the status, with their values.
	columns string
	values  []any
	made    bool
	// mark is what owner is set to. It stays the same when the change is made again because nobody knows whether it was.
	mark string
}

// ChangeGlobalStatus changes the status by compare-and-set on the one that global has. It panics with storage.ErrNotFound when the log has
// another one.
func (s Store) ChangeGlobalStatus(global *storage.TransGlobalStore, newStatus string, updates []string, finished bool) {
	c := &change{gid: global.Gid, from: global.Status, to: newStatus}
	for _, column := range updates {
		switch column {
		case "status":
		case "update_time":
			c.set(column, global.UpdateTime)
		case "finish_time":
			c.set(column, global.FinishTime)
		case "rollback_time":
			c.set(column, global.RollbackTime)
		default: // a reason or a result, which no other one shares
			s.Store.ChangeGlobalStatus(global, newStatus, updates, finished)
			return
		}
	}
	s.ready()
	dtmimp.E2P(s.changes.Do(context.Background(), c))
	if !c.made {
		dtmimp.E2P(storage.ErrNotFound)
	}
	global.Status = newStatus
}

func (c *change) set(column string, to *time.Time) {
	c.columns += ", " + column + " = ?"
	c.values = append(c.values, to)
}

// changes marks the rows that it changes as its own, and reads which these were: only so is it known, in one round trip, who was faster, and
// whether an earlier attempt was. DTM's own recovery marks rows in the same column; ours does not.
func changes() batch.Work[*change] {
	return batch.Work[*change]{Write: func(items []*batch.Item[*change]) (writes []batch.Statement, err error) {
		type group struct{ from, to, columns, mark string }
		groups := map[group]map[string]*change{}
		for _, i := range items {
			c := i.Request
			c.made = false
			g := group{c.from, c.to, c.columns, c.mark}
			if groups[g] == nil {
				groups[g] = map[string]*change{}
			}
			if groups[g][c.gid] == nil { // of two that are the same, one makes it
				groups[g][c.gid] = c
			}
		}
		inOrder := slices.SortedFunc(maps.Keys(groups), func(a, b group) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.columns, b.columns), cmp.Compare(a.mark, b.mark))
		})
		for _, g := range inOrder {
			of := groups[g]
			gids := slices.Sorted(maps.Keys(of))
			mark := g.mark
			if mark == "" {
				mark = uuid.NewString()
			}
			for _, c := range of {
				c.mark = mark
			}
			in, args := database.In(gids)
			writes = append(writes, batch.Change("UPDATE trans_global FORCE INDEX (gid) SET status = ?, owner = ?"+g.columns+" WHERE gid IN ("+in+
				") AND status = ?", slices.Concat([]any{g.to, mark}, of[gids[0]].values, args, []any{g.from})...),
				batch.Find("SELECT gid FROM trans_global FORCE INDEX (gid) WHERE gid IN ("+in+") AND owner = ?", append(args, mark),
					func(scan func(...any) error) error {
						var gid string
						if err := scan(&gid); err != nil {
							return err
						}
						if c := of[gid]; c != nil {
							c.made = true
						}
						return nil
					}))
		}
		return writes, nil
	}}
}
