// Package batched lets changes of the coordinator's log that come at the same time share a local transaction: its commit and its round trip.
package batched

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/dtmsvr/storage"
	"github.com/go-sql-driver/mysql"
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

// most is how many connections it takes: batches follow one another, and only one that waits for a lock lets another one begin.
const most = 8

func (s Store) ready() {
	s.open.Do(func() {
		c, err := mysql.ParseDSN(s.dsn())
		dtmimp.E2P(err)
		c.MultiStatements, c.InterpolateParams = true, true
		connector, err := mysql.NewConnector(c)
		dtmimp.E2P(err)
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(most)
		db.SetMaxIdleConns(most)
		db.SetConnMaxLifetime(10 * time.Minute)
		s.saves, s.changes = batch.New(db, saves), batch.New(db, changes)
	})
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
		now := time.Now()
		for _, i := range items {
			g := i.Request.global
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

// changes marks the rows that it changes as its own, and reads which these were: only so is it known, in one round trip, who was faster. DTM's
// own recovery marks rows in the same column; ours does not.
func changes() batch.Work[*change] {
	return batch.Work[*change]{Write: func(items []*batch.Item[*change]) (writes []batch.Statement, err error) {
		type group struct{ from, to, columns string }
		groups := map[group][]*change{}
		for _, i := range items {
			c := i.Request
			c.made = false
			g := group{c.from, c.to, c.columns}
			groups[g] = append(groups[g], c)
		}
		for g, of := range groups {
			mark, err := uuid.NewRandom()
			if err != nil {
				return nil, err
			}
			slices.SortFunc(of, func(a, b *change) int { return strings.Compare(a.gid, b.gid) })
			byGID := map[string]*change{}
			var gids []string
			for _, c := range of {
				if byGID[c.gid] == nil { // of two that are the same, one makes it
					byGID[c.gid], gids = c, append(gids, c.gid)
				}
			}
			in, args := database.In(gids)
			writes = append(writes, batch.Change("UPDATE trans_global FORCE INDEX (gid) SET status = ?, owner = ?"+g.columns+" WHERE gid IN ("+in+
				") AND status = ?", slices.Concat([]any{g.to, mark.String()}, of[0].values, args, []any{g.from})...),
				batch.Find("SELECT gid FROM trans_global FORCE INDEX (gid) WHERE gid IN ("+in+") AND owner = ?", append(args, mark.String()),
					func(scan func(...any) error) error {
						var gid string
						if err := scan(&gid); err != nil {
							return err
						}
						if c := byGID[gid]; c != nil {
							c.made = true
						}
						return nil
					}))
		}
		return writes, nil
	}}
}
