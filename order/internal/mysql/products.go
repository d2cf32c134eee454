package mysql

import (
	"context"
	"database/sql"
	"errors"

	"example.com/fourfold/order/internal/mysql/query"
)

// Product is the name and price of a product at its change number Version, of that generation of inventory's database.
type Product struct {
	SKU, Name  string
	PriceCents int64
	Version    int64
	Generation string
}

// KeepProduct writes p to the copy of the catalogue, unless the copy is already at p's version or a later one. Versions of a later generation are
// later.
func (s *Store) KeepProduct(ctx context.Context, tx *sql.Tx, p Product) error {
	q := s.q.WithTx(tx)
	at, err := q.LockProduct(ctx, p.SKU)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		// A racing insert of the same product fails with a duplicate key, and its event is tried again.
		return q.InsertProduct(ctx, query.InsertProductParams{
			Sku: p.SKU, Name: p.Name, PriceCents: p.PriceCents, Version: p.Version, Generation: p.Generation,
		})
	case err != nil || at.Generation > p.Generation || at.Generation == p.Generation && at.Version >= p.Version:
		return err
	}
	return q.UpdateProduct(ctx, query.UpdateProductParams{
		Sku: p.SKU, Name: p.Name, PriceCents: p.PriceCents, Version: p.Version, Generation: p.Generation,
	})
}

// Products returns those of skus that the copy has, by sku.
func (s *Store) Products(ctx context.Context, skus []string) (map[string]Product, error) {
	rows, err := s.q.ListProducts(ctx, skus)
	products := make(map[string]Product, len(rows))
	for _, r := range rows {
		products[r.Sku] = Product{SKU: r.Sku, Name: r.Name, PriceCents: r.PriceCents, Version: r.Version}
	}
	return products, err
}
