// Package slip is wms' branch of the payment transaction.
package slip

import (
	"context"
	"database/sql"

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
	branch *tcc.Participant
	store  *mysql.Store
}

// New returns a Slip over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Slip {
	return &Slip{branch: branch, store: store}
}

// Try drafts the slip. It refuses with DELIVERY_REFUSED while the warehouse is closed; there is no slip then.
func (s *Slip) Try(ctx context.Context, req *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	slip, err := delivery.NewSlip(req.GetOrderId(), req.GetAddress(), linesOf(req))
	if err != nil {
		return nil, rpc.Error(err)
	}
	return s.branch.Run(ctx, tcc.Try, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return rpc.Error(s.store.Draft(ctx, tx, gid, slip))
	})
}

// Confirm hands the slip to the warehouse, also when the warehouse was closed in the meantime.
func (s *Slip) Confirm(ctx context.Context, req *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return s.branch.Run(ctx, tcc.Confirm, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return s.store.Settle(ctx, tx, gid, req.GetOrderId(), delivery.Create)
	})
}

// Cancel voids the slip, also when the warehouse was closed in the meantime.
func (s *Slip) Cancel(ctx context.Context, req *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return s.branch.Run(ctx, tcc.Cancel, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return s.store.Settle(ctx, tx, gid, req.GetOrderId(), delivery.Cancel)
	})
}

func linesOf(req *wmsv1.DeliverySlipRequest) []delivery.Line {
	lines := make([]delivery.Line, len(req.GetLines()))
	for i, l := range req.GetLines() {
		lines[i] = delivery.Line{SKU: l.GetSku(), Quantity: l.GetQuantity()}
	}
	return lines
}
