package payment

import (
	"context"
	"database/sql"

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
	branch *tcc.Participant
	store  *mysql.Store
}

// NewRefund returns a Refund over branch's database.
func NewRefund(branch *tcc.Participant, store *mysql.Store) *Refund {
	return &Refund{branch: branch, store: store}
}

// Try lets the transaction hold the order. It refuses with ORDER_STATE when the order is not PAID or the attempt was abandoned.
func (r *Refund) Try(ctx context.Context, orderID string) (*emptypb.Empty, error) {
	if err := failpoint.Hit(ctx, "refund/try"); err != nil {
		return nil, err
	}
	return r.branch.Run(ctx, tcc.Try, orderID, func(tx *sql.Tx, gid string) error {
		return answer.Error(r.store.Hold(ctx, tx, order.Refund, orderID, gid))
	})
}

// Confirm makes the order REFUNDED.
func (r *Refund) Confirm(ctx context.Context, req *orderv1.OrderRefundRequest) (*emptypb.Empty, error) {
	return r.branch.Run(ctx, tcc.Confirm, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return r.store.ConfirmRefund(ctx, tx, req.GetOrderId(), gid)
	})
}

// Cancel makes the order PAID again.
func (r *Refund) Cancel(ctx context.Context, req *orderv1.OrderRefundRequest) (*emptypb.Empty, error) {
	return r.branch.Run(ctx, tcc.Cancel, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return r.store.CancelRefund(ctx, tx, req.GetOrderId(), gid)
	})
}
