package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"example.com/fourfold/chassis/books"
	"example.com/fourfold/inventory/internal/mysql/query"
	"example.com/fourfold/inventory/internal/stock"
)

// Books gives the conservation check access to shop_inventory. A fact is one line of an order, "sku|quantity".
type Books struct{ q *query.Queries }

// NewBooks returns the Books in db.
func NewBooks(db *sql.DB) *Books { return &Books{query.New(db)} }

// Check checks stock against itself and against the lines of the orders, and looks for lines that a transaction left open.
func (b *Books) Check(ctx context.Context, open time.Duration) ([]books.Check, error) {
	sum := books.Check{Name: "inventory: sellable + frozen + sold = received, none negative"}
	frozen := books.Check{Name: "inventory: frozen = FROZEN lines"}
	sold := books.Check{Name: "inventory: sold = DEDUCTED + RETURNING lines"}
	stale := books.Check{Name: "inventory: nothing stays FROZEN or RETURNING"}

	n, err := b.q.CountStock(ctx)
	if err != nil {
		return nil, err
	}
	sum.Checked, frozen.Checked, sold.Checked = n, n, n
	levels, err := b.q.CheckStock(ctx, books.MaxViolations)
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
	left, err := b.q.ListOpen(ctx, query.ListOpenParams{OpenSeconds: int64(open / time.Second), Limit: books.MaxViolations})
	if err != nil {
		return nil, err
	}
	for _, l := range left {
		stale.Violate("order %s, sku %s: %s for %d s", l.OrderID, l.Sku, l.Status, l.AgeSeconds)
	}
	return []books.Check{sum, frozen, sold, stale}, nil
}

// Digest returns the digest of the lines that are sold.
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

// OfBuckets returns all lines of buckets.
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

// OfOrders returns all lines of orders.
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
		OrderID: r.OrderID, Fact: fmt.Sprintf("%s|%d", r.Sku, r.Quantity), Status: r.Status,
		Settled: stock.FreezeStatus(r.Status).Settled(), Age: time.Duration(r.AgeSeconds) * time.Second,
	}
}
