package checkout

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/payment"
)

// flow is one kind of transaction over order and the other participants.
type flow struct {
	kind order.Kind
	// name is the prefix of its failpoints.
	name string
	// try is order's own Try. It reports whether it holds the order now; when not, and without an error, the row must be asked.
	try func(ctx context.Context, orderID string) (held bool, err error)
	// settled tells of order's last phases in this process.
	settled *payment.Settled
	own     branch
	others  []branch
}

// branch is one branch of a transaction.
type branch struct {
	participant.Branch
	service, id, addr string
	conn              grpc.ClientConnInterface
}

// newFlow numbers the branches; order's own is 01.
func newFlow(kind order.Kind, name string, try func(context.Context, string) (bool, error), settled *payment.Settled, own branch,
	others participant.Peers) flow {
	own.service, own.id = "order", "01"
	f := flow{kind: kind, name: name, try: try, settled: settled, own: own}
	for i, p := range others {
		f.others = append(f.others, branch{Branch: p.Of(kind), service: p.Name, id: fmt.Sprintf("%02d", i+2), addr: p.Addr, conn: p.Conn})
	}
	return f
}

// all are the branches, order's own first.
func (f flow) all() []branch { return append([]branch{f.own}, f.others...) }

// ownPayment returns order's own branch of the payment, which the coordinator reaches at addr, and this process over conn.
func ownPayment(addr string, conn grpc.ClientConnInterface) branch {
	return branch{addr: addr, conn: conn, Branch: participant.Branch{
		Confirm: orderv1.OrderPayment_Confirm_FullMethodName,
		Cancel:  orderv1.OrderPayment_Cancel_FullMethodName,
		Request: func(o order.Order) proto.Message { return &orderv1.OrderPaymentRequest{OrderId: o.ID} },
	}}
}

// ownRefund is the same for the refund.
func ownRefund(addr string, conn grpc.ClientConnInterface) branch {
	return branch{addr: addr, conn: conn, Branch: participant.Branch{
		Confirm: orderv1.OrderRefund_Confirm_FullMethodName,
		Cancel:  orderv1.OrderRefund_Cancel_FullMethodName,
		Request: func(o order.Order) proto.Message { return &orderv1.OrderRefundRequest{OrderId: o.ID} },
	}}
}

// branches returns the branches of o's transaction, order's own first.
func (f flow) branches(o order.Order) []tcc.Branch {
	var all []tcc.Branch
	for _, b := range f.all() {
		all = append(all, tcc.Branch{ID: b.id, Addr: b.addr, Try: b.Try, Confirm: b.Confirm, Cancel: b.Cancel, Payload: b.Request(o)})
	}
	return all
}

// passed is the failpoint after a step.
func (f flow) passed(ctx context.Context, step string) error {
	return failpoint.Hit(ctx, f.name+"/"+step)
}
