package mysql

import (
	"context"
	"database/sql"
	"errors"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/inventory/internal/mysql/query"
	"example.com/fourfold/inventory/internal/stock"
)

// CreateProduct adds p with no stock and publishes it. It returns stock.ErrExists when the sku is taken.
func (s *Store) CreateProduct(ctx context.Context, p stock.Product) error {
	err := s.outbox.InTx(ctx, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		err := q.InsertProduct(ctx, query.InsertProductParams{Sku: p.SKU, Name: p.Name, PriceCents: p.PriceCents})
		if err != nil {
			return err
		}
		if err := q.InsertStock(ctx, p.SKU); err != nil {
			return err
		}
		return s.tell(ctx, tx, p, 1)
	})
	if database.Duplicate(err) {
		return stock.ErrExists
	}
	return err
}

// ChangeProduct changes the name and the price of sku, each unless it is nil, and publishes the product if that changed anything. It returns the
// product as it is then, or stock.ErrUnknown.
func (s *Store) ChangeProduct(ctx context.Context, sku string, name *string, priceCents *int64) (stock.Product, error) {
	var p stock.Product
	err := s.outbox.InTx(ctx, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		row, err := q.LockProduct(ctx, sku)
		if errors.Is(err, sql.ErrNoRows) {
			return stock.ErrUnknown
		}
		if err != nil {
			return err
		}
		// Read without a lock: the change does not wait for payments that freeze the product's stock.
		level, err := q.GetStock(ctx, sku)
		if err != nil {
			return err
		}
		is := stock.Product{SKU: sku, Name: row.Name, PriceCents: row.PriceCents, Sellable: level.Sellable}
		p = is
		if name != nil {
			p.Name = *name
		}
		if priceCents != nil {
			p.PriceCents = *priceCents
		}
		if p == is {
			return nil
		}
		n, err := q.ChangeProduct(ctx, query.ChangeProductParams{Sku: sku, Name: p.Name, PriceCents: p.PriceCents, FromVersion: row.Version})
		if err != nil {
			return err
		}
		if n != 1 {
			return errors.New("the product changed under its lock")
		}
		return s.tell(ctx, tx, p, row.Version+1-row.VersionBase)
	})
	return p, err
}

// tell writes p, as it is by its change number n of this generation, to the outbox.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, p stock.Product, n int64) error {
	data, err := mq.Data(&eventv1.ProductChanged{Sku: p.SKU, Name: p.Name, PriceCents: p.PriceCents})
	if err != nil {
		return err
	}
	return s.outbox.Append(ctx, tx, eventv1.TopicProducts, mq.Event{
		Type: eventv1.TypeProductChanged, Subject: p.SKU, Sequence: n, Data: data,
	})
}
