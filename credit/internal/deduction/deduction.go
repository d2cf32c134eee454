// Package deduction is credit's branch of the refund transaction.
package deduction

import (
	"context"
	"database/sql"

	"google.golang.org/protobuf/types/known/emptypb"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/internal/rpc"
)

// Deduction serves credit's branch of the refund. It starts from the state in which grant ended.
//
//	ADDED --Try--> DEDUCTING --Confirm--> DEDUCTED
//	                   \------Cancel----> ADDED
//
// Points move from credit to prepare_deduct_credit, then vanish or come back. The entry says whose they are and how many; it keeps the refund's
// gid beside the payment's.
type Deduction struct {
	creditv1.UnimplementedCreditDeductionServer
	branch *tcc.Participant
	store  *mysql.Store
}

// New returns a Deduction over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Deduction {
	return &Deduction{branch: branch, store: store}
}

// Try takes the order's points out of what can be spent. It refuses with CREDIT_REFUSED while an operator has the account frozen, when the
// member has spent the points, and when the order has none that are ADDED; nothing is taken then.
func (d *Deduction) Try(ctx context.Context, req *creditv1.CreditDeductionRequest) (*emptypb.Empty, error) {
	if err := account.CheckID("order_id", req.GetOrderId()); err != nil {
		return nil, rpc.Error(err)
	}
	return d.branch.Run(ctx, tcc.Try, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return rpc.Error(d.store.PrepareDeduct(ctx, tx, gid, req.GetOrderId()))
	})
}

// Confirm drops the points that Try took, also when the account was frozen in the meantime.
func (d *Deduction) Confirm(ctx context.Context, req *creditv1.CreditDeductionRequest) (*emptypb.Empty, error) {
	return d.branch.Run(ctx, tcc.Confirm, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return d.store.ConfirmDeduct(ctx, tx, gid, req.GetOrderId())
	})
}

// Cancel returns the points that Try took, also when the account was frozen in the meantime.
func (d *Deduction) Cancel(ctx context.Context, req *creditv1.CreditDeductionRequest) (*emptypb.Empty, error) {
	return d.branch.Run(ctx, tcc.Cancel, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return d.store.CancelDeduct(ctx, tx, gid, req.GetOrderId())
	})
}
