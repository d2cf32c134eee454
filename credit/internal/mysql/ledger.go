package mysql

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql/query"
)

// Ledger gives the conservation check access to shop_credit. A fact is an order's entry, its points. Entries that no transaction made are about
// no order.
type Ledger struct{ q *query.Queries }

// NewLedger returns the Books in db.
func NewLedger(db *sql.DB) *Ledger { return &Ledger{query.New(db)} }

// Check checks accounts against their entries, and looks for entries that a transaction left open.
func (b *Ledger) Check(ctx context.Context, open time.Duration) ([]ledger.Check, error) {
	negative := ledger.Check{Name: "credit: no balance is negative"}
	added := ledger.Check{Name: "credit: credit + prepare_deduct_credit = ADDED + DEDUCTING entries"}
	prepared := ledger.Check{Name: "credit: prepare_add_credit = PREPARED entries"}
	deducting := ledger.Check{Name: "credit: prepare_deduct_credit = DEDUCTING entries"}
	stale := ledger.Check{Name: "credit: nothing stays PREPARED or DEDUCTING"}

	n, err := b.q.CountAccounts(ctx)
	if err != nil {
		return nil, err
	}
	negative.Checked, added.Checked, prepared.Checked, deducting.Checked = n, n, n, n
	balances, err := b.q.CheckBalances(ctx, ledger.MaxViolations)
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
	left, err := b.q.ListOpen(ctx, query.ListOpenParams{OpenSeconds: int64(open / time.Second), Limit: ledger.MaxViolations})
	if err != nil {
		return nil, err
	}
	for _, e := range left {
		stale.Violate("order %s: %s for %d s", e.Source, e.Status, e.AgeSeconds)
	}
	return []ledger.Check{added, prepared, deducting, negative, stale}, nil
}

// Digest returns the digest of the orders' entries whose points are added.
func (b *Ledger) Digest(ctx context.Context) (*ledger.Digest, error) {
	rows, err := b.q.DigestLedger(ctx)
	return ledger.DigestOf(rows, err, func(r query.DigestLedgerRow) (int16, ledger.Sum) {
		return r.Bucket, ledger.Sum{Count: r.Facts, Hash: uint64(r.Digest)}
	})
}

// OfBuckets returns all orders' entries of buckets.
func (b *Ledger) OfBuckets(ctx context.Context, buckets []int) ([]ledger.Fact, error) {
	rows, err := b.q.FactsOfBuckets(ctx, ledger.Numbers(buckets))
	return ledger.FactsOf(rows, err, func(r query.FactsOfBucketsRow) ledger.Fact { return fact(query.FactsOfSourcesRow(r)) })
}

// OfSubjects returns the entries of orders.
func (b *Ledger) OfSubjects(ctx context.Context, ids []string) ([]ledger.Fact, error) {
	rows, err := b.q.FactsOfSources(ctx, ids)
	return ledger.FactsOf(rows, err, fact)
}

func fact(r query.FactsOfSourcesRow) ledger.Fact {
	return ledger.Fact{
		Subject: r.Source, Fact: strconv.FormatInt(r.Points, 10), Status: r.Status,
		Settled: account.Status(r.Status).Settled(), Age: time.Duration(r.AgeSeconds) * time.Second,
	}
}
