package mysql

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"example.com/fourfold/chassis/books"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql/query"
)

// Books gives the conservation check access to shop_credit. A fact is an order's entry, its points. Entries that no transaction made are about
// no order.
type Books struct{ q *query.Queries }

// NewBooks returns the Books in db.
func NewBooks(db *sql.DB) *Books { return &Books{query.New(db)} }

// Check checks accounts against their entries, and looks for entries that a transaction left open.
func (b *Books) Check(ctx context.Context, open time.Duration) ([]books.Check, error) {
	negative := books.Check{Name: "credit: no balance is negative"}
	added := books.Check{Name: "credit: credit + prepare_deduct_credit = ADDED + DEDUCTING entries"}
	prepared := books.Check{Name: "credit: prepare_add_credit = PREPARED entries"}
	deducting := books.Check{Name: "credit: prepare_deduct_credit = DEDUCTING entries"}
	stale := books.Check{Name: "credit: nothing stays PREPARED or DEDUCTING"}

	n, err := b.q.CountAccounts(ctx)
	if err != nil {
		return nil, err
	}
	negative.Checked, added.Checked, prepared.Checked, deducting.Checked = n, n, n, n
	balances, err := b.q.CheckBalances(ctx, books.MaxViolations)
	if err != nil {
		return nil, err
	}
	for _, a := range balances {
		negative.Violate("member %s: credit %d, prepare_add_credit %d, prepare_deduct_credit %d",
			a.MemberID, a.Credit, a.PrepareAddCredit, a.PrepareDeductCredit)
	}
	accounts, err := b.q.CheckEntries(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if a.Held != a.Added {
			added.Violate("member %s: %d, but the entries say %d", a.MemberID, a.Held, a.Added)
		}
		if a.PrepareAdd != a.Prepared {
			prepared.Violate("member %s: %d, but the entries say %d", a.MemberID, a.PrepareAdd, a.Prepared)
		}
		if a.PrepareDeduct != a.Deducting {
			deducting.Violate("member %s: %d, but the entries say %d", a.MemberID, a.PrepareDeduct, a.Deducting)
		}
	}
	if stale.Checked, err = b.q.CountOpen(ctx); err != nil {
		return nil, err
	}
	left, err := b.q.ListOpen(ctx, query.ListOpenParams{OpenSeconds: int64(open / time.Second), Limit: books.MaxViolations})
	if err != nil {
		return nil, err
	}
	for _, e := range left {
		stale.Violate("order %s: %s for %d s", e.Source, e.Status, e.AgeSeconds)
	}
	return []books.Check{added, prepared, deducting, negative, stale}, nil
}

// Digest returns the digest of the orders' entries whose points are added.
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

// OfBuckets returns all orders' entries of buckets.
func (b *Books) OfBuckets(ctx context.Context, buckets []int) ([]books.Fact, error) {
	numbers := make([]int16, len(buckets))
	for i, n := range buckets {
		numbers[i] = int16(n)
	}
	rows, err := b.q.FactsOfBuckets(ctx, numbers)
	facts := make([]books.Fact, len(rows))
	for i, r := range rows {
		facts[i] = fact(query.FactsOfSourcesRow(r))
	}
	return facts, err
}

// OfOrders returns the entries of orders.
func (b *Books) OfOrders(ctx context.Context, ids []string) ([]books.Fact, error) {
	rows, err := b.q.FactsOfSources(ctx, ids)
	facts := make([]books.Fact, len(rows))
	for i, r := range rows {
		facts[i] = fact(r)
	}
	return facts, err
}

func fact(r query.FactsOfSourcesRow) books.Fact {
	return books.Fact{
		OrderID: r.Source, Fact: strconv.FormatInt(r.Points, 10), Status: r.Status,
		Settled: account.Status(r.Status).Settled(), Age: time.Duration(r.AgeSeconds) * time.Second,
	}
}
