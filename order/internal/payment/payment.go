// Package payment is order's own branch of the payment transaction.
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

// Payment serves order's branch of the payment.
//
//	CREATED --Try--> UPDATING --Confirm--> PAID
//	                     \-----Cancel----> CANCELED, with the attempt's reason
//
// The Try is not an RPC: checkout calls it in this process, before any other Try. Confirm comes last of the four, so an order that reads PAID is
// confirmed everywhere. Confirm and Cancel write the order's event with it and never need the broker.
type Payment struct {
	orderv1.UnimplementedOrderPaymentServer
	branch *tcc.Participant
	store  *mysql.Store
}

// New returns a Payment over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Payment {
	return &Payment{branch: branch, store: store}
}

// Try lets the transaction hold the order. It refuses with ORDER_STATE when the order is not CREATED or the attempt was abandoned.
func (p *Payment) Try(ctx context.Context, orderID string) (*emptypb.Empty, error) {
	if err := failpoint.Hit(ctx, "payment/try"); err != nil {
		return nil, err
	}
	return p.branch.Run(ctx, tcc.Try, orderID, func(tx *sql.Tx, gid string) error {
		return answer.Error(p.store.Hold(ctx, tx, order.Payment, orderID, gid))
	})
}

// Confirm makes the order PAID.
func (p *Payment) Confirm(ctx context.Context, req *orderv1.OrderPaymentRequest) (*emptypb.Empty, error) {
	return p.branch.Run(ctx, tcc.Confirm, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return p.store.ConfirmPayment(ctx, tx, req.GetOrderId(), gid)
	})
}

// Cancel makes the order CANCELED.
func (p *Payment) Cancel(ctx context.Context, req *orderv1.OrderPaymentRequest) (*emptypb.Empty, error) {
	return p.branch.Run(ctx, tcc.Cancel, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return p.store.CancelPayment(ctx, tx, req.GetOrderId(), gid)
	})
}
