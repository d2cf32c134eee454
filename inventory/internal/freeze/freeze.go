// Package freeze is inventory's branch of the payment transaction.
package freeze

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/rpc"
	"example.com/fourfold/inventory/internal/stock"
)

// Freeze serves inventory's branch of the payment.
//
//	(none) --Try--> FROZEN --Confirm--> DEDUCTED
//	                   \-----Cancel---> RELEASED
//
// Units move sellable -> frozen -> sold, or back to sellable. Rows are keyed by order and sku and keep the gid.
type Freeze struct {
	inventoryv1.UnimplementedStockFreezeServer
	try, confirm, cancel *tcc.Batched[[]stock.Line]
}

// New returns a Freeze over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Freeze {
	return &Freeze{
		try:     tcc.NewBatched(branch, tcc.Try, store.Freeze, rpc.Error),
		confirm: tcc.NewBatched(branch, tcc.Confirm, store.Deduct, rpc.Error),
		cancel:  tcc.NewBatched(branch, tcc.Cancel, store.Release, rpc.Error),
	}
}

// Try sets the lines' units aside. It refuses with STOCK_NOT_ENOUGH or PRODUCT_UNKNOWN; nothing is set aside then.
func (f *Freeze) Try(ctx context.Context, req *inventoryv1.StockFreezeRequest) (*emptypb.Empty, error) {
	lines, err := stock.Sorted(linesOf(req))
	if err != nil {
		return nil, rpc.Error(err)
	}
	return tcc.Reply(f.try.Run(ctx, req.GetOrderId(), lines))
}

// Confirm sells what Try set aside.
func (f *Freeze) Confirm(ctx context.Context, req *inventoryv1.StockFreezeRequest) (*emptypb.Empty, error) {
	return tcc.Reply(f.confirm.Run(ctx, req.GetOrderId(), nil))
}

// Cancel puts back what Try set aside.
func (f *Freeze) Cancel(ctx context.Context, req *inventoryv1.StockFreezeRequest) (*emptypb.Empty, error) {
	return tcc.Reply(f.cancel.Run(ctx, req.GetOrderId(), nil))
}

func linesOf(req *inventoryv1.StockFreezeRequest) []stock.Line {
	lines := make([]stock.Line, len(req.GetLines()))
	for i, l := range req.GetLines() {
		lines[i] = stock.Line{SKU: l.GetSku(), Quantity: int64(l.GetQuantity())}
	}
	return lines
}
