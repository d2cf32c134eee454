// Package mysql holds all of credit's SQL: queries.sql, what sqlc generates from it, and the steps of several statements. A transaction locks
// the entry before its account, so that no two wait for each other in a circle.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql/query"
)

// Store reads and writes shop_credit.
type Store struct {
	db *sql.DB
	q  *query.Queries
}

// NewStore returns a Store of db.
func NewStore(db *sql.DB) *Store { return &Store{db, query.New(db)} }

// Account returns a member's account; all zeros for a member that has none yet.
func (s *Store) Account(ctx context.Context, memberID string) (account.Account, error) {
	row, err := s.q.GetAccount(ctx, memberID)
	if errors.Is(err, sql.ErrNoRows) {
		return account.Account{MemberID: memberID}, nil
	}
	return account.Account{
		MemberID: row.MemberID, Credit: row.Credit, PrepareAdd: row.PrepareAddCredit, PrepareDeduct: row.PrepareDeductCredit,
		Frozen: row.Frozen,
	}, err
}

// Entries returns up to limit of the member's entries after from, newest first.
func (s *Store) Entries(ctx context.Context, memberID string, from account.Position, limit int32) ([]account.Entry, error) {
	rows, err := s.q.ListEntries(ctx, query.ListEntriesParams{MemberID: memberID, At: from.CreatedAt, Before: from.Source, Limit: limit})
	entries := make([]account.Entry, len(rows))
	for i, row := range rows {
		entries[i] = entry(query.GetEntryRow(row))
	}
	return entries, err
}

// SetFrozen freezes or thaws the account, which it creates if there is none, and returns it. Once it has returned, a frozen account accepts no
// Try that had not committed before: both write the account's row.
func (s *Store) SetFrozen(ctx context.Context, memberID string, frozen bool) (account.Account, error) {
	if err := s.q.SetFrozen(ctx, query.SetFrozenParams{MemberID: memberID, Frozen: frozen}); err != nil {
		return account.Account{}, err
	}
	return s.Account(ctx, memberID)
}

// Grant adds e's points at once, even to a frozen account. It returns the entry that is booked under e's source, and reports whether this call
// booked it: the second time nothing changes. It returns account.ErrFull.
func (s *Store) Grant(ctx context.Context, e account.Entry) (booked account.Entry, added bool, err error) {
	err = database.InTx(ctx, s.db, func(tx *sql.Tx) error { return s.Add(ctx, tx, e) })
	if err != nil && !database.Duplicate(err) {
		return account.Entry{}, false, err
	}
	row, getErr := s.q.GetEntry(ctx, e.Source)
	return entry(row), err == nil, getErr
}

// Add adds e's points in tx, even to a frozen account, and creates the account if this is the member's first event. It returns account.ErrFull.
// The error is database.Duplicate when e's source is booked already; nothing is changed then, and tx may go on.
func (s *Store) Add(ctx context.Context, tx *sql.Tx, e account.Entry) error {
	q := s.q.WithTx(tx)
	if err := insert(ctx, q, e, "", account.Grant); err != nil {
		return err
	}
	if err := q.OpenAccount(ctx, e.MemberID); err != nil {
		return err
	}
	n, err := q.AddCredit(ctx, query.AddCreditParams{MemberID: e.MemberID, Points: e.Points, Room: account.MaxBalance - e.Points})
	if err == nil && n == 0 {
		return fmt.Errorf("%w: member %s", account.ErrFull, e.MemberID)
	}
	return err
}

func insert(ctx context.Context, q *query.Queries, e account.Entry, gid string, event account.Event) error {
	return q.InsertEntry(ctx, query.InsertEntryParams{
		Source: e.Source, MemberID: e.MemberID, Gid: gid, Points: e.Points, Status: string(event.Transition().To),
	})
}

// moved checks that exactly the account of e was booked.
func moved(n int64, err error, e account.Entry) error {
	if err == nil && n != 1 {
		return fmt.Errorf("the account of member %s does not hold the %d points of %s", e.MemberID, e.Points, e.Source)
	}
	return err
}

func entry(r query.GetEntryRow) account.Entry {
	return account.Entry{Source: r.Source, MemberID: r.MemberID, Points: r.Points, Status: account.Status(r.Status), CreatedAt: r.CreatedAt}
}
