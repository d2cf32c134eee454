package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/inventory/internal/mysql/query"
	"example.com/fourfold/inventory/internal/stock"
)

// Ledger gives the conservation check access to shop_inventory. A fact is one line of an order, "sku|quantity".
type Ledger struct{ q *query.Queries }

// NewLedger returns the Books in db.
func NewLedger(db *sql.DB) *Ledger { return &Ledger{query.New(db)} }

// Check checks stock against itself and against the lines of the orders, and looks for lines that a transaction left open.
func (b *Ledger) Check(ctx context.Context, open time.Duration) ([]ledger.Check, error) {
	sum := ledger.Check{Name: "inventory: sellable + frozen + sold = received, none negative"}
	frozen := ledger.Check{Name: "inventory: frozen = FROZEN lines"}
	sold := ledger.Check{Name: "inventory: sold = DEDUCTED + RETURNING lines"}
	stale := ledger.Check{Name: "inventory: nothing stays FROZEN or RETURNING"}

	n, err := b.q.CountStock(ctx)
	if err != nil {
		return nil, err
	}
	sum.Checked, frozen.Checked, sold.Checked = n, n, n
	levels, err := b.q.CheckStock(ctx, ledger.MaxViolations)
	if err != nil {
		return nil, err
	}
	for _, l := range levels {
		sum.Violate("sku %s: sellable %d, frozen %d, sold %d, received %d", l.Sku, l.Sellable, l.Frozen, l.Sold, l.Received)
	}
	lines, err := b.q.CheckLines(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if l.Frozen != l.Held {
			frozen.Violate("sku %s: %d frozen, but FROZEN lines hold %d", l.Sku, l.Frozen, l.Held)
		}
		if l.Sold != l.Taken {
			sold.Violate("sku %s: %d sold, but DEDUCTED and RETURNING lines took %d", l.Sku, l.Sold, l.Taken)
		}
	}
	if stale.Checked, err = b.q.CountOpen(ctx); err != nil {
		return nil, err
	}
	left, err := b.q.ListOpen(ctx, query.ListOpenParams{OpenSeconds: int64(open / time.Second), Limit: ledger.MaxViolations})
	if err != nil {
		return nil, err
	}
	for _, l := range left {
		stale.Violate("order %s, sku %s: %s for %d s", l.OrderID, l.Sku, l.Status, l.AgeSeconds)
	}
	return []ledger.Check{sum, frozen, sold, stale}, nil
}

// Digest returns the digest of the lines that are sold.
func (b *Ledger) Digest(ctx context.Context) (*ledger.Digest, error) {
	rows, err := b.q.DigestLedger(ctx)
	return ledger.DigestOf(rows, err, func(r query.DigestLedgerRow) (int16, ledger.Sum) {
		return r.Bucket, ledger.Sum{Count: r.Facts, Hash: uint64(r.Digest)}
	})
}

// OfBuckets returns all lines of buckets.
func (b *Ledger) OfBuckets(ctx context.Context, buckets []int) ([]ledger.Fact, error) {
	rows, err := b.q.FactsOfBuckets(ctx, ledger.Numbers(buckets))
	return ledger.FactsOf(rows, err, func(r query.FactsOfBucketsRow) ledger.Fact { return fact(query.FactsOfOrdersRow(r)) })
}

// OfSubjects returns all lines of orders.
func (b *Ledger) OfSubjects(ctx context.Context, ids []string) ([]ledger.Fact, error) {
	rows, err := b.q.FactsOfOrders(ctx, ids)
	return ledger.FactsOf(rows, err, fact)
}

func fact(r query.FactsOfOrdersRow) ledger.Fact {
	return ledger.Fact{
		Subject: r.OrderID, Fact: fmt.Sprintf("%s|%d", r.Sku, r.Quantity), Status: r.Status,
		Settled: stock.FreezeStatus(r.Status).Settled(), Age: time.Duration(r.AgeSeconds) * time.Second,
	}
}
