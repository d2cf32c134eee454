// Package hold is wms' branch of the refund transaction.
package hold

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

// Hold serves wms' branch of the refund. It starts from the state in which slip ended.
//
//	CREATED --Try--> HELD --Confirm--> CANCELED
//	                   \----Cancel---> CREATED
//
// A slip that is HELD cannot be picked, and one that is PICKED cannot be held: the first wins. The slip keeps the refund's gid beside the
// payment's.
type Hold struct {
	wmsv1.UnimplementedSlipHoldServer
	branch *tcc.Participant
	store  *mysql.Store
}

// New returns a Hold over branch's database.
func New(branch *tcc.Participant, store *mysql.Store) *Hold {
	return &Hold{branch: branch, store: store}
}

// Try holds the slip. It refuses with DELIVERY_REFUSED when the slip is not CREATED any more: it is picked or further, or another refund has it.
// It makes no difference whether the warehouse is closed.
func (h *Hold) Try(ctx context.Context, req *wmsv1.SlipHoldRequest) (*emptypb.Empty, error) {
	if err := delivery.CheckID("order_id", req.GetOrderId()); err != nil {
		return nil, rpc.Error(err)
	}
	return h.branch.Run(ctx, tcc.Try, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return rpc.Error(h.store.Hold(ctx, tx, gid, req.GetOrderId()))
	})
}

// Confirm voids the slip.
func (h *Hold) Confirm(ctx context.Context, req *wmsv1.SlipHoldRequest) (*emptypb.Empty, error) {
	return h.branch.Run(ctx, tcc.Confirm, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return h.store.SettleHold(ctx, tx, gid, req.GetOrderId(), delivery.ConfirmHold)
	})
}

// Cancel hands the slip back to the warehouse.
func (h *Hold) Cancel(ctx context.Context, req *wmsv1.SlipHoldRequest) (*emptypb.Empty, error) {
	return h.branch.Run(ctx, tcc.Cancel, req.GetOrderId(), func(tx *sql.Tx, gid string) error {
		return h.store.SettleHold(ctx, tx, gid, req.GetOrderId(), delivery.CancelHold)
	})
}
