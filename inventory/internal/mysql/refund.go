package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/inventory/internal/mysql/query"
	"example.com/fourfold/inventory/internal/stock"
)

// Return lets the refund gid hold what the order took. The stock does not move yet. It returns stock.ErrNotSold when the order has nothing
// DEDUCTED.
func (s *Store) Return(ctx context.Context, tx *sql.Tx, orderID, gid string) error {
	t := stock.Return.Transition()
	n, err := s.q.WithTx(tx).BeginReturn(ctx, query.BeginReturnParams{
		OrderID: orderID, RefundGid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: order %s", stock.ErrNotSold, orderID)
	}
	return err
}

// ConfirmReturn puts what gid holds of the order back on the shelf: sold to sellable, in the order of the skus. It returns tcc.ErrNotTried when
// gid holds nothing.
func (s *Store) ConfirmReturn(ctx context.Context, tx *sql.Tx, orderID, gid string) error {
	q := s.q.WithTx(tx)
	if err := moveReturns(ctx, q, orderID, gid, stock.ConfirmReturn); err != nil {
		return err
	}
	lines, err := q.ListReturns(ctx, query.ListReturnsParams{
		OrderID: orderID, RefundGid: gid, Status: string(stock.ConfirmReturn.Transition().To),
	})
	if err != nil {
		return err
	}
	for _, l := range lines {
		n, err := q.ReturnStock(ctx, query.ReturnStockParams{Sku: l.Sku, Quantity: l.Quantity})
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("the books of %s do not hold the %d units sold to order %s", l.Sku, l.Quantity, orderID)
		}
	}
	return nil
}

// CancelReturn leaves what gid holds of the order sold. It returns tcc.ErrNotTried when gid holds nothing.
func (s *Store) CancelReturn(ctx context.Context, tx *sql.Tx, orderID, gid string) error {
	return moveReturns(ctx, s.q.WithTx(tx), orderID, gid, stock.CancelReturn)
}

func moveReturns(ctx context.Context, q *query.Queries, orderID, gid string, event stock.Event) error {
	t := event.Transition()
	n, err := q.MoveReturns(ctx, query.MoveReturnsParams{
		OrderID: orderID, RefundGid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err == nil && n == 0 {
		err = tcc.ErrNotTried
	}
	return err
}
