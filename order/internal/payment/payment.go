// Package payment is order's own branch of the payment transaction.
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

// Payment serves order's branch of the payment.
//
//	CREATED --Try--> UPDATING --Confirm--> PAID
//	                     \-----Cancel----> CANCELED, with the attempt's reason
//
// The Try is not an RPC: checkout calls it in this process, before any other Try. Confirm comes last of the four, so an order that reads PAID is
// confirmed everywhere. Confirm and Cancel write the order's event with it and never need the broker.
type Payment struct {
	orderv1.UnimplementedOrderPaymentServer
	// Settled tells of each Confirm and Cancel.
	Settled
	try, confirm, cancel *tcc.Batched[struct{}]
}

// New returns a Payment over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Payment {
	return &Payment{
		try:     tcc.NewBatched(branch, tcc.Try, store.Hold(order.Payment), answer.Error),
		confirm: tcc.NewBatched(branch, tcc.Confirm, store.Settle(order.ConfirmPayment), answer.Error),
		cancel:  tcc.NewBatched(branch, tcc.Cancel, store.Settle(order.CancelPayment), answer.Error),
	}
}

// Try lets the transaction hold the order, and reports whether it did: when it did not, and without an error, it has done so before, or was
// canceled first. It refuses with ORDER_STATE when the order is not CREATED or the attempt was abandoned.
func (p *Payment) Try(ctx context.Context, orderID string) (held bool, err error) {
	if err := failpoint.Hit(ctx, "payment/try"); err != nil {
		return false, err
	}
	return p.try.Run(ctx, orderID, struct{}{})
}

// Confirm makes the order PAID.
func (p *Payment) Confirm(ctx context.Context, req *orderv1.OrderPaymentRequest) (*emptypb.Empty, error) {
	return p.settle(ctx, p.confirm, req.GetOrderId())
}

// Cancel makes the order CANCELED.
func (p *Payment) Cancel(ctx context.Context, req *orderv1.OrderPaymentRequest) (*emptypb.Empty, error) {
	return p.settle(ctx, p.cancel, req.GetOrderId())
}
