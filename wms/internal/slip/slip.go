// Package slip is wms' branch of the payment transaction.
package slip

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
)

// Slip serves wms' branch of the payment.
//
//	(none) --Try--> UNKNOWN --Confirm--> CREATED
//	                   \------Cancel---> CANCELED
//
// The warehouse sees a slip from CREATED on. Rows are keyed by order and keep the gid.
type Slip struct {
	wmsv1.UnimplementedDeliverySlipServer
	try, confirm, cancel *tcc.Batched[delivery.Slip]
}

// New returns a Slip over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Slip {
	return &Slip{
		try:     tcc.NewBatched(branch, tcc.Try, store.Draft, rpc.Error),
		confirm: tcc.NewBatched(branch, tcc.Confirm, store.Settle(delivery.Create), rpc.Error),
		cancel:  tcc.NewBatched(branch, tcc.Cancel, store.Settle(delivery.Cancel), rpc.Error),
	}
}

// Try drafts the slip. It refuses with DELIVERY_REFUSED while the warehouse is closed; there is no slip then.
func (s *Slip) Try(ctx context.Context, req *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	slip, err := delivery.NewSlip(req.GetOrderId(), req.GetAddress(), linesOf(req))
	if err != nil {
		return nil, rpc.Error(err)
	}
	return tcc.Reply(s.try.Run(ctx, req.GetOrderId(), slip))
}

// Confirm hands the slip to the warehouse, also when the warehouse was closed in the meantime.
func (s *Slip) Confirm(ctx context.Context, req *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return tcc.Reply(s.confirm.Run(ctx, req.GetOrderId(), delivery.Slip{}))
}

// Cancel voids the slip, also when the warehouse was closed in the meantime.
func (s *Slip) Cancel(ctx context.Context, req *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return tcc.Reply(s.cancel.Run(ctx, req.GetOrderId(), delivery.Slip{}))
}

func linesOf(req *wmsv1.DeliverySlipRequest) []delivery.Line {
	lines := make([]delivery.Line, len(req.GetLines()))
	for i, l := range req.GetLines() {
		lines[i] = delivery.Line{SKU: l.GetSku(), Quantity: l.GetQuantity()}
	}
	return lines
}
