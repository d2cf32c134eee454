package mysql

import (
	"context"
	"database/sql"
	"time"

	"example.com/fourfold/chassis/books"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Books gives the conservation check access to shop_wms. A fact is an order's slip; all it says is that the slip is there.
type Books struct {
	db *sql.DB
	q  *query.Queries
}

// NewBooks returns the Books in db.
func NewBooks(db *sql.DB) *Books { return &Books{db, query.New(db)} }

// Check checks every slip's status and lines, and looks for slips that a transaction left open.
func (b *Books) Check(ctx context.Context, open time.Duration) ([]books.Check, error) {
	legal := books.Check{Name: "wms: every slip has a legal status"}
	filled := books.Check{Name: "wms: every slip has lines"}
	stale := books.Check{Name: "wms: nothing stays UNKNOWN or HELD"}
	if err := b.checkStatus(ctx, &legal); err != nil {
		return nil, err
	}
	if err := b.checkLines(ctx, &filled); err != nil {
		return nil, err
	}
	var err error
	if stale.Checked, err = b.q.CountOpen(ctx); err != nil {
		return nil, err
	}
	left, err := b.q.ListOpen(ctx, query.ListOpenParams{OpenSeconds: int64(open / time.Second), Limit: books.MaxViolations})
	if err != nil {
		return nil, err
	}
	for _, s := range left {
		stale.Violate("order %s: %s for %d s", s.OrderID, s.Status, s.AgeSeconds)
	}
	return []books.Check{legal, filled, stale}, nil
}

func (b *Books) checkStatus(ctx context.Context, legal *books.Check) error {
	groups, err := b.q.CountByStatus(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		legal.Checked += g.Slips
		if delivery.Status(g.Status).Legal() {
			continue
		}
		orders, err := b.q.ListByStatus(ctx, query.ListByStatusParams{Status: g.Status, Limit: books.MaxViolations})
		if err != nil {
			return err
		}
		for _, id := range orders {
			legal.Violate("order %s: %q", id, g.Status)
		}
	}
	return nil
}

// checkLines compares sums first, at one moment: most of the time they are equal, and no row has to be looked at.
func (b *Books) checkLines(ctx context.Context, filled *books.Check) error {
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	all, err := b.q.WithTx(tx).SumSlips(ctx)
	if err != nil {
		return err
	}
	withLines, err := b.q.WithTx(tx).SumSlipsWithLines(ctx)
	if err != nil {
		return err
	}
	if all == query.SumSlipsRow(withLines) {
		filled.Checked = all.Slips
		return nil
	}
	_ = tx.Rollback() // the search takes long, and needs no common moment
	return b.findEmpty(ctx, filled)
}

// step is how many slips are read at once.
const step = 10_000

// findEmpty walks slips and lines side by side: a join would look up each slip's lines one by one. A slip is written together with its lines, so
// lines that are read after it are there.
func (b *Books) findEmpty(ctx context.Context, filled *books.Check) error {
	for after := ""; ; {
		slips, err := b.q.ScanSlips(ctx, query.ScanSlipsParams{After: after, Limit: step})
		if err != nil || len(slips) == 0 {
			return err
		}
		last := slips[len(slips)-1]
		withLines, err := b.q.ScanLines(ctx, query.ScanLinesParams{After: after, Last: last})
		if err != nil {
			return err
		}
		var empty []string
		for _, id := range slips {
			for len(withLines) > 0 && withLines[0] < id {
				withLines = withLines[1:] // lines without a slip
			}
			if len(withLines) == 0 || withLines[0] != id {
				empty = append(empty, id)
			}
		}
		rows, err := b.q.ListByID(ctx, empty[:min(len(empty), books.MaxViolations)])
		if err != nil {
			return err
		}
		for _, s := range rows {
			filled.Violate("order %s: slip %s (%s) has no lines", s.OrderID, s.ID, s.Status)
		}
		filled.Checked += int64(len(slips))
		after = last
	}
}

// Digest returns the digest of the slips of orders that are paid.
func (b *Books) Digest(ctx context.Context) (*books.Digest, error) {
	rows, err := b.q.DigestBooks(ctx)
	if err != nil {
		return nil, err
	}
	var d books.Digest
	for _, r := range rows {
		d[r.Bucket] = books.Sum{Count: r.Facts, Hash: uint64(r.Digest)}
	}
	return &d, nil
}

// OfBuckets returns all slips of buckets.
func (b *Books) OfBuckets(ctx context.Context, buckets []int) ([]books.Fact, error) {
	numbers := make([]int16, len(buckets))
	for i, n := range buckets {
		numbers[i] = int16(n)
	}
	rows, err := b.q.FactsOfBuckets(ctx, numbers)
	facts := make([]books.Fact, len(rows))
	for i, r := range rows {
		facts[i] = fact(query.FactsOfOrdersRow(r))
	}
	return facts, err
}

// OfOrders returns the slips of orders.
func (b *Books) OfOrders(ctx context.Context, ids []string) ([]books.Fact, error) {
	rows, err := b.q.FactsOfOrders(ctx, ids)
	facts := make([]books.Fact, len(rows))
	for i, r := range rows {
		facts[i] = fact(r)
	}
	return facts, err
}

func fact(r query.FactsOfOrdersRow) books.Fact {
	return books.Fact{
		OrderID: r.OrderID, Status: r.Status, Settled: delivery.Status(r.Status).Settled(),
		Age: time.Duration(r.AgeSeconds) * time.Second,
	}
}
