// Package mysql holds all of wms' SQL: queries.sql, what sqlc generates from it, and the steps of several statements.
package mysql

import (
	"context"
	"database/sql"
	"errors"

	"example.com/fourfold/chassis/mq"
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
