// Package mysql holds all of wms' SQL: queries.sql, what sqlc generates from it, and the steps of several statements.
package mysql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Store reads and writes shop_wms.
type Store struct {
	db     *sql.DB
	q      *query.Queries
	outbox *mq.Outbox
}

// NewStore returns a Store of db. It publishes events through outbox, which must be on the same database.
func NewStore(db *sql.DB, outbox *mq.Outbox) *Store { return &Store{db, query.New(db), outbox} }

// Filter says which slips to list; an empty field allows all.
type Filter struct {
	Status  delivery.Status
	OrderID string
	// Before is the id of the last slip of the page before.
	Before string
}

// newest sorts after every id.
const newest = "~"

// Slips returns up to limit slips with their lines, newest first. UNKNOWN ones are never among them, whatever f asks for.
func (s *Store) Slips(ctx context.Context, f Filter, limit int32) ([]delivery.Slip, error) {
	if f.Before == "" {
		f.Before = newest
	}
	rows, err := s.q.ListSlips(ctx, query.ListSlipsParams{
		Before: f.Before, Hidden: string(delivery.Unknown), Status: string(f.Status), OrderID: f.OrderID, Limit: limit,
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	slips := make([]delivery.Slip, len(rows))
	for i, row := range rows {
		slips[i] = slip(row)
	}
	return slips, addLines(ctx, s.q, slips)
}

// addLines fills in the lines of slips.
func addLines(ctx context.Context, q *query.Queries, slips []delivery.Slip) error {
	ids := make([]string, len(slips))
	for i, s := range slips {
		ids[i] = s.ID
	}
	lines, err := q.ListLines(ctx, ids)
	if err != nil {
		return err
	}
	of := map[string][]delivery.Line{}
	for _, l := range lines {
		of[l.SlipID] = append(of[l.SlipID], delivery.Line{SKU: l.Sku, Quantity: l.Quantity})
	}
	for i := range slips {
		slips[i].Lines = of[slips[i].ID]
	}
	return nil
}

func slip(r query.ListSlipsRow) delivery.Slip {
	return delivery.Slip{
		ID: r.ID, OrderID: r.OrderID, Status: delivery.Status(r.Status), Address: r.Address, CreatedAt: r.CreatedAt,
	}
}

// SetOpen opens or closes the warehouse. It waits for every Try that read the switch before: once it has returned, no slip appears of a Try that
// saw the warehouse open.
func (s *Store) SetOpen(ctx context.Context, open bool) error {
	n, err := s.q.SetOpen(ctx, open)
	if err == nil && n != 1 {
		err = errors.New("the switch of the warehouse is missing: table warehouse has no row 1")
	}
	return err
}

// Draft writes slip as UNKNOWN under gid. It returns delivery.ErrClosed while the warehouse is closed.
func (s *Store) Draft(ctx context.Context, tx *sql.Tx, gid string, slip delivery.Slip) error {
	q := s.q.WithTx(tx)
	open, err := q.GetOpen(ctx)
	if err != nil {
		return err
	}
	if !open {
		return delivery.ErrClosed
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	err = q.InsertSlip(ctx, query.InsertSlipParams{
		ID: id.String(), OrderID: slip.OrderID, Gid: gid, Status: string(delivery.Draft.Transition().To), Address: slip.Address,
	})
	if err != nil {
		return err
	}
	for _, l := range slip.Lines {
		if err := q.InsertLine(ctx, query.InsertLineParams{SlipID: id.String(), Sku: l.SKU, Quantity: l.Quantity}); err != nil {
			return err
		}
	}
	return nil
}

// Settle takes the order's slip of gid through event, Create or Cancel. It returns tcc.ErrNotTried when gid drafted none.
func (s *Store) Settle(ctx context.Context, tx *sql.Tx, gid, orderID string, event delivery.Event) error {
	t := event.Transition()
	n, err := s.q.WithTx(tx).MoveSlip(ctx, query.MoveSlipParams{
		OrderID: orderID, Gid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err == nil && n == 0 {
		err = tcc.ErrNotTried
	}
	return err
}
