package reconcile_test

import (
	"context"
	"database/sql"
	"path"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// create writes a new order down: 2 of sku-1 and 1 of sku-2 for member m-1.
func (s *shop) create(ctx context.Context) (order.Order, error) {
	o, err := order.New(uuid.Must(uuid.NewV7()).String(), "m-1", "Main Street 1", []order.Line{
		{SKU: "sku-1", Name: "one", PriceCents: 500, Quantity: 2}, {SKU: "sku-2", Name: "two", PriceCents: 500, Quantity: 1},
	})
	if err != nil {
		return o, err
	}
	return o, s.write(ctx, o)
}

func (s *shop) write(ctx context.Context, o order.Order) error {
	return s.store.Create(ctx, o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil })
}

// old returns one of the orders that fill wrote, with its lines.
func (s *shop) old(t testing.TB, id string) order.Order {
	t.Helper()
	var member string
	require.NoError(t, s.order.QueryRowContext(t.Context(), "SELECT member_id FROM orders WHERE id = ?", id).Scan(&member))
	o, err := s.store.Order(t.Context(), member, id)
	require.NoError(t, err)
	return o
}

// step is one local transaction in one of the services.
type step func(ctx context.Context) error

// run takes steps one after another.
func run(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := s(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tried counts the steps of a transaction up to its decision, confirmed and canceled those after it. The steps are the real branches of the
// three services and the local transactions of order's own branch, in the sequence in which the coordinator calls them.
const (
	tried   = 5
	settled = tried + 4
)

// steps returns the steps of a transaction of o: the attempt, order's own Try, those of inventory, credit and wms; then the Confirms, or the
// Cancels, of wms, credit, inventory and order.
func (s *shop) steps(kind order.Kind, o order.Order, confirm bool) []step {
	gid := string(kind) + "-" + uuid.NewString()
	op := "cancel"
	if confirm {
		op = "confirm"
	}
	own := func(f func(context.Context, *sql.Tx) error) step {
		return func(ctx context.Context) error {
			return database.InTx(ctx, s.order, func(tx *sql.Tx) error { return f(ctx, tx) })
		}
	}
	return []step{
		func(ctx context.Context) error {
			_, _, err := s.store.OpenAttempt(ctx, kind, o.MemberID, o.ID, gid)
			return err
		},
		own(func(ctx context.Context, tx *sql.Tx) error {
			return batch.Apply(ctx, tx, s.store.Hold(kind)(), mysql.Holding{Subject: o.ID, GID: gid})
		}),
		s.branch("inventory", kind, "try", o, gid), s.branch("credit", kind, "try", o, gid), s.branch("wms", kind, "try", o, gid),
		s.branch("wms", kind, op, o, gid), s.branch("credit", kind, op, o, gid), s.branch("inventory", kind, op, o, gid),
		own(func(ctx context.Context, tx *sql.Tx) error {
			switch {
			case kind == order.Payment && confirm:
				return batch.Apply(ctx, tx, s.store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: o.ID, GID: gid})
			case kind == order.Payment:
				return batch.Apply(ctx, tx, s.store.Settle(order.CancelPayment)(), mysql.Holding{Subject: o.ID, GID: gid})
			case confirm:
				return batch.Apply(ctx, tx, s.store.Settle(order.ConfirmRefund)(), mysql.Holding{Subject: o.ID, GID: gid})
			}
			return batch.Apply(ctx, tx, s.store.Settle(order.CancelRefund)(), mysql.Holding{Subject: o.ID, GID: gid})
		}),
	}
}

var methods = map[string]string{
	"inventory PAYMENT try":     inventoryv1.StockFreeze_Try_FullMethodName,
	"inventory PAYMENT confirm": inventoryv1.StockFreeze_Confirm_FullMethodName,
	"inventory PAYMENT cancel":  inventoryv1.StockFreeze_Cancel_FullMethodName,
	"inventory REFUND try":      inventoryv1.StockReturn_Try_FullMethodName,
	"inventory REFUND confirm":  inventoryv1.StockReturn_Confirm_FullMethodName,
	"inventory REFUND cancel":   inventoryv1.StockReturn_Cancel_FullMethodName,
	"credit PAYMENT try":        creditv1.CreditGrant_Try_FullMethodName,
	"credit PAYMENT confirm":    creditv1.CreditGrant_Confirm_FullMethodName,
	"credit PAYMENT cancel":     creditv1.CreditGrant_Cancel_FullMethodName,
	"credit REFUND try":         creditv1.CreditDeduction_Try_FullMethodName,
	"credit REFUND confirm":     creditv1.CreditDeduction_Confirm_FullMethodName,
	"credit REFUND cancel":      creditv1.CreditDeduction_Cancel_FullMethodName,
	"wms PAYMENT try":           wmsv1.DeliverySlip_Try_FullMethodName,
	"wms PAYMENT confirm":       wmsv1.DeliverySlip_Confirm_FullMethodName,
	"wms PAYMENT cancel":        wmsv1.DeliverySlip_Cancel_FullMethodName, "wms REFUND try": wmsv1.SlipHold_Try_FullMethodName,
	"wms REFUND confirm": wmsv1.SlipHold_Confirm_FullMethodName, "wms REFUND cancel": wmsv1.SlipHold_Cancel_FullMethodName,
}

// branch calls one phase of another service's branch as the coordinator does.
func (s *shop) branch(peer string, kind order.Kind, op string, o order.Order, gid string) step {
	return func(ctx context.Context) error {
		method, req := methods[peer+" "+string(kind)+" "+op], request(peer, kind, o)
		payload, err := proto.Marshal(req)
		if err != nil {
			return err
		}
		call := tcc.Call{GID: gid, Branch: map[string]string{"inventory": "02", "credit": "03", "wms": "04"}[peer], Phase: tcc.Phase(op),
			Service: path.Dir(method)[1:], Subject: o.ID, Payload: payload}
		return s.peers[peer].conn.Invoke(metadata.NewOutgoingContext(ctx, metadata.New(call.Headers(s.keys))), method, req, &emptypb.Empty{})
	}
}

func request(peer string, kind order.Kind, o order.Order) proto.Message {
	switch {
	case peer == "inventory" && kind == order.Payment:
		r := &inventoryv1.StockFreezeRequest{OrderId: o.ID}
		for _, l := range o.Lines {
			r.Lines = append(r.Lines, &inventoryv1.StockFreezeRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
		}
		return r
	case peer == "inventory":
		return &inventoryv1.StockReturnRequest{OrderId: o.ID}
	case peer == "credit" && kind == order.Payment:
		return &creditv1.CreditGrantRequest{OrderId: o.ID, MemberId: o.MemberID, Points: o.Points}
	case peer == "credit":
		return &creditv1.CreditDeductionRequest{OrderId: o.ID, MemberId: o.MemberID, Points: o.Points}
	case kind == order.Payment:
		r := &wmsv1.DeliverySlipRequest{OrderId: o.ID, Address: o.Address}
		for _, l := range o.Lines {
			r.Lines = append(r.Lines, &wmsv1.DeliverySlipRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
		}
		return r
	}
	return &wmsv1.SlipHoldRequest{OrderId: o.ID}
}

// ship hands a slip to the carrier and lets the order follow.
func (s *shop) ship(id string) []step {
	slip := func(from, to string) step {
		return func(ctx context.Context) error {
			_, err := s.wms.ExecContext(ctx, "UPDATE delivery_slip SET status = ? WHERE order_id = ? AND status = ?", to, id, from)
			return err
		}
	}
	return []step{
		slip("CREATED", "PICKED"), slip("PICKED", "SHIPPED"),
		func(ctx context.Context) error {
			return database.InTx(ctx, s.order, func(tx *sql.Tx) error { return s.store.Follow(ctx, tx, id, order.Ship, "order.shipped") })
		},
	}
}
