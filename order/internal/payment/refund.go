package payment

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/answer"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// Refund serves order's branch of the refund.
//
//	PAID --Try--> REFUNDING --Confirm--> REFUNDED
//	                  \------Cancel----> PAID
//
// As in the payment the Try runs in this process, before any other, and Confirm comes last.
type Refund struct {
	orderv1.UnimplementedOrderRefundServer
	// Settled tells of each Confirm and Cancel.
	Settled
	try, confirm, cancel *tcc.Batched[struct{}]
}

// NewRefund returns a Refund over branch's database.
func NewRefund(branch *tcc.Participant, store *mysql.Store) *Refund {
	return &Refund{
		try:     tcc.NewBatched(branch, tcc.Try, store.Hold(order.Refund), answer.Error),
		confirm: tcc.NewBatched(branch, tcc.Confirm, store.Settle(order.ConfirmRefund), answer.Error),
		cancel:  tcc.NewBatched(branch, tcc.Cancel, store.Settle(order.CancelRefund), answer.Error),
	}
}

// Try lets the transaction hold the order, and reports whether it did: when it did not, and without an error, it has done so before, or was
// canceled first. It refuses with ORDER_STATE when the order is not PAID or the attempt was abandoned.
func (r *Refund) Try(ctx context.Context, orderID string) (held bool, err error) {
	if err := failpoint.Hit(ctx, "refund/try"); err != nil {
		return false, err
	}
	return r.try.Run(ctx, orderID, struct{}{})
}

// Confirm makes the order REFUNDED.
func (r *Refund) Confirm(ctx context.Context, req *orderv1.OrderRefundRequest) (*emptypb.Empty, error) {
	return r.settle(ctx, r.confirm, req.GetOrderId())
}

// Cancel makes the order PAID again.
func (r *Refund) Cancel(ctx context.Context, req *orderv1.OrderRefundRequest) (*emptypb.Empty, error) {
	return r.settle(ctx, r.cancel, req.GetOrderId())
}
