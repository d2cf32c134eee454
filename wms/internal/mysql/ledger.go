package mysql

import (
	"context"
	"database/sql"
	"time"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Ledger gives the conservation check access to shop_wms. A fact is an order's slip: that it is there, and what the order was told of it.
type Ledger struct {
	db *sql.DB
	q  *query.Queries
}

// NewLedger returns the Books in db.
func NewLedger(db *sql.DB) *Ledger { return &Ledger{db, query.New(db)} }

// Check checks every slip's status and lines, and looks for slips that a transaction left open.
func (b *Ledger) Check(ctx context.Context, open time.Duration) ([]ledger.Check, error) {
	legal := ledger.Check{Name: "wms: every slip has a legal status"}
	filled := ledger.Check{Name: "wms: every slip has lines"}
	stale := ledger.Check{Name: "wms: nothing stays UNKNOWN or HELD"}
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
	left, err := b.q.ListOpen(ctx, query.ListOpenParams{OpenSeconds: int64(open / time.Second), Limit: ledger.MaxViolations})
	if err != nil {
		return nil, err
	}
	for _, s := range left {
		stale.Violate("order %s: %s for %d s", s.OrderID, s.Status, s.AgeSeconds)
	}
	return []ledger.Check{legal, filled, stale}, nil
}

func (b *Ledger) checkStatus(ctx context.Context, legal *ledger.Check) error {
	groups, err := b.q.CountByStatus(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		legal.Checked += g.Slips
		if delivery.Status(g.Status).Legal() {
			continue
		}
		orders, err := b.q.ListByStatus(ctx, query.ListByStatusParams{Status: g.Status, Limit: ledger.MaxViolations})
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
func (b *Ledger) checkLines(ctx context.Context, filled *ledger.Check) error {
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
func (b *Ledger) findEmpty(ctx context.Context, filled *ledger.Check) error {
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
		rows, err := b.q.ListByID(ctx, empty[:min(len(empty), ledger.MaxViolations)])
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
func (b *Ledger) Digest(ctx context.Context) (*ledger.Digest, error) {
	rows, err := b.q.DigestLedger(ctx)
	return ledger.DigestOf(rows, err, func(r query.DigestLedgerRow) (int16, ledger.Sum) {
		return r.Bucket, ledger.Sum{Count: r.Facts, Hash: uint64(r.Digest)}
	})
}

// OfBuckets returns all slips of buckets.
func (b *Ledger) OfBuckets(ctx context.Context, buckets []int) ([]ledger.Fact, error) {
	rows, err := b.q.FactsOfBuckets(ctx, ledger.Numbers(buckets))
	return ledger.FactsOf(rows, err, func(r query.FactsOfBucketsRow) ledger.Fact { return fact(query.FactsOfOrdersRow(r)) })
}

// OfSubjects returns the slips of orders.
func (b *Ledger) OfSubjects(ctx context.Context, ids []string) ([]ledger.Fact, error) {
	rows, err := b.q.FactsOfOrders(ctx, ids)
	return ledger.FactsOf(rows, err, fact)
}

func fact(r query.FactsOfOrdersRow) ledger.Fact {
	return ledger.Fact{
		Subject: r.OrderID, Fact: delivery.Status(r.Status).Told(), Status: r.Status, Settled: delivery.Status(r.Status).Settled(),
		Age: time.Duration(r.AgeSeconds) * time.Second,
	}
}
