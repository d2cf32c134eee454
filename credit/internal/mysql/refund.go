package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql/query"
)

// PrepareDeduct lets the refund gid hold the points that source brought: they cannot be spent any more. It returns account.ErrNotAdded,
// account.ErrFrozen or account.ErrSpent.
func (s *Store) PrepareDeduct(ctx context.Context, tx *sql.Tx, gid, source string) error {
	q := s.q.WithTx(tx)
	t := account.PrepareDeduct.Transition()
	n, err := q.BeginDeduct(ctx, query.BeginDeductParams{
		Source: source, RefundGid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: order %s", account.ErrNotAdded, source)
	}
	row, err := q.GetEntry(ctx, source)
	if err != nil {
		return err
	}
	n, err = q.PrepareDeduct(ctx, query.PrepareDeductParams{MemberID: row.MemberID, Points: row.Points})
	if err != nil || n == 1 {
		return err
	}
	a, err := q.GetAccount(ctx, row.MemberID)
	switch {
	case err != nil:
		return err
	case a.Frozen:
		return fmt.Errorf("%w: member %s", account.ErrFrozen, row.MemberID)
	}
	return fmt.Errorf("%w: member %s has %d, order %s brought %d", account.ErrSpent, row.MemberID, a.Credit, source, row.Points)
}

// ConfirmDeduct drops the points that gid holds of source. It returns tcc.ErrNotTried when gid holds none.
func (s *Store) ConfirmDeduct(ctx context.Context, tx *sql.Tx, gid, source string) error {
	q := s.q.WithTx(tx)
	e, err := moveDeduct(ctx, q, gid, source, account.ConfirmDeduct)
	if err != nil {
		return err
	}
	n, err := q.ConfirmDeduct(ctx, query.ConfirmDeductParams{MemberID: e.MemberID, Points: e.Points})
	return moved(n, err, e)
}

// CancelDeduct makes the points that gid holds of source spendable again. It returns tcc.ErrNotTried when gid holds none.
func (s *Store) CancelDeduct(ctx context.Context, tx *sql.Tx, gid, source string) error {
	q := s.q.WithTx(tx)
	e, err := moveDeduct(ctx, q, gid, source, account.CancelDeduct)
	if err != nil {
		return err
	}
	n, err := q.CancelDeduct(ctx, query.CancelDeductParams{MemberID: e.MemberID, Points: e.Points})
	return moved(n, err, e)
}

// moveDeduct takes the entry that the refund gid holds through event and returns it.
func moveDeduct(ctx context.Context, q *query.Queries, gid, source string, event account.Event) (account.Entry, error) {
	t := event.Transition()
	n, err := q.MoveDeduct(ctx, query.MoveDeductParams{
		Source: source, RefundGid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err != nil {
		return account.Entry{}, err
	}
	if n == 0 {
		return account.Entry{}, tcc.ErrNotTried
	}
	row, err := q.GetEntry(ctx, source)
	return entry(row), err
}
