// Package mysql holds all of inventory's SQL: queries.sql, what sqlc generates from it, and the steps of several statements.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/inventory/internal/mysql/query"
	"example.com/fourfold/inventory/internal/stock"
)

// Store reads and writes shop_inventory.
type Store struct {
	db     *sql.DB
	q      *query.Queries
	outbox *mq.Outbox
}

// NewStore returns a Store of db. It publishes changes of products through outbox, which must be on the same database.
func NewStore(db *sql.DB, outbox *mq.Outbox) *Store { return &Store{db, query.New(db), outbox} }

// Product returns one product, or stock.ErrUnknown.
func (s *Store) Product(ctx context.Context, sku string) (stock.Product, error) {
	row, err := s.q.GetProduct(ctx, sku)
	if errors.Is(err, sql.ErrNoRows) {
		return stock.Product{}, stock.ErrUnknown
	}
	return product(query.ListProductsRow(row)), err
}

// Products returns the products of skus that exist, by sku.
func (s *Store) Products(ctx context.Context, skus []string) ([]stock.Product, error) {
	rows, err := s.q.PriceProducts(ctx, skus)
	products := make([]stock.Product, len(rows))
	for i, row := range rows {
		products[i] = product(query.ListProductsRow(row))
	}
	return products, err
}

// Search returns up to limit products whose sku comes after after and whose name or sku contains text, by sku.
func (s *Store) Search(ctx context.Context, text, after string, limit int32) ([]stock.Product, error) {
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
	rows, err := s.q.ListProducts(ctx, query.ListProductsParams{After: after, Pattern: pattern, Limit: limit})
	products := make([]stock.Product, len(rows))
	for i, row := range rows {
		products[i] = product(row)
	}
	return products, err
}

// Level returns a product's stock, or stock.ErrUnknown.
func (s *Store) Level(ctx context.Context, sku string) (stock.Level, error) {
	return level(ctx, s.q, sku)
}

func level(ctx context.Context, q *query.Queries, sku string) (stock.Level, error) {
	row, err := q.GetStock(ctx, sku)
	if errors.Is(err, sql.ErrNoRows) {
		return stock.Level{}, stock.ErrUnknown
	}
	return stock.Level{SKU: row.Sku, Sellable: row.Sellable, Frozen: row.Frozen, Sold: row.Sold, Received: row.Received}, err
}

// Receive adds quantity received units and calls keep with the new stock. Both are one local transaction: when keep fails, nothing is added. It
// returns stock.ErrUnknown.
func (s *Store) Receive(ctx context.Context, sku string, quantity int64, keep func(*sql.Tx, stock.Level) error) error {
	return database.InTx(ctx, s.db, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		n, err := q.ReceiveStock(ctx, query.ReceiveStockParams{Sku: sku, Quantity: quantity})
		if err == nil && n == 0 {
			err = stock.ErrUnknown
		}
		if err != nil {
			return err
		}
		is, err := level(ctx, q, sku)
		if err != nil {
			return err
		}
		return keep(tx, is)
	})
}

func product(r query.ListProductsRow) stock.Product {
	return stock.Product{SKU: r.Sku, Name: r.Name, PriceCents: r.PriceCents, Sellable: r.Sellable}
}
