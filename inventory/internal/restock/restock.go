// Package restock is inventory's branch of the refund transaction.
package restock

import (
	"context"
	"database/sql"

	"google.golang.org/protobuf/types/known/emptypb"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/rpc"
)

// Restock serves inventory's branch of the refund. It starts from the state in which freeze ended.
//
//	DEDUCTED --Try--> RETURNING --Confirm--> RETURNED
//	                      \------Cancel----> DEDUCTED
//
// Units stay sold until Confirm, so that nobody can buy units in between that a Cancel would have to take back. Rows keep the refund's gid
// beside the payment's.
type Restock struct {
	inventoryv1.UnimplementedStockReturnServer
	branch *tcc.Participant
	store  *mysql.Store
}

// New returns a Restock over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Restock {
	return &Restock{branch: branch, store: store}
}

// Try holds what the order took. It refuses with STOCK_NOT_SOLD when there is nothing to hold, also because another refund holds it or has
// returned it.
func (r *Restock) Try(ctx context.Context, req *inventoryv1.StockReturnRequest) (*emptypb.Empty, error) {
	return r.branch.Run(ctx, tcc.Try, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return rpc.Error(r.store.Return(ctx, tx, req.GetOrderId(), gid))
	})
}

// Confirm makes the units sellable again.
func (r *Restock) Confirm(ctx context.Context, req *inventoryv1.StockReturnRequest) (*emptypb.Empty, error) {
	return r.branch.Run(ctx, tcc.Confirm, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return r.store.ConfirmReturn(ctx, tx, req.GetOrderId(), gid)
	})
}

// Cancel leaves the units sold.
func (r *Restock) Cancel(ctx context.Context, req *inventoryv1.StockReturnRequest) (*emptypb.Empty, error) {
	return r.branch.Run(ctx, tcc.Cancel, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return r.store.CancelReturn(ctx, tx, req.GetOrderId(), gid)
	})
}
