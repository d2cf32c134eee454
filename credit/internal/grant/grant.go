// Package grant is credit's branch of the payment transaction.
package grant

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/internal/rpc"
)

// Grant serves credit's branch of the payment.
//
//	(none) --Try--> PREPARED --Confirm--> ADDED
//	                    \------Cancel---> CANCELED
//
// Points enter prepare_add_credit, then move to credit or vanish. The entry is keyed by order, its source, and keeps the gid.
type Grant struct {
	creditv1.UnimplementedCreditGrantServer
	try, confirm, cancel *tcc.Batched[account.Entry]
}

// New returns a Grant over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Grant {
	return &Grant{
		try:     tcc.NewBatched(branch, tcc.Try, store.PrepareAdd, rpc.Error),
		confirm: tcc.NewBatched(branch, tcc.Confirm, store.ConfirmAdd, rpc.Error),
		cancel:  tcc.NewBatched(branch, tcc.Cancel, store.CancelAdd, rpc.Error),
	}
}

// Try promises the points, and creates the account when this is the member's first event. It refuses with CREDIT_REFUSED while an operator has
// the account frozen, and when the account would hold more than account.MaxBalance; nothing is promised then.
func (g *Grant) Try(ctx context.Context, req *creditv1.CreditGrantRequest) (*emptypb.Empty, error) {
	entry, err := account.NewEntry(req.GetOrderId(), req.GetMemberId(), req.GetPoints())
	if err != nil {
		return nil, rpc.Error(err)
	}
	return tcc.Reply(g.try.Run(ctx, req.GetOrderId(), entry))
}

// Confirm makes the points that Try promised spendable, also when the account was frozen in the meantime.
func (g *Grant) Confirm(ctx context.Context, req *creditv1.CreditGrantRequest) (*emptypb.Empty, error) {
	return tcc.Reply(g.confirm.Run(ctx, req.GetOrderId(), account.Entry{}))
}

// Cancel drops the points that Try promised, also when the account was frozen in the meantime.
func (g *Grant) Cancel(ctx context.Context, req *creditv1.CreditGrantRequest) (*emptypb.Empty, error) {
	return tcc.Reply(g.cancel.Run(ctx, req.GetOrderId(), account.Entry{}))
}
