package checkout

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/order"
)

// Peer is another service that takes part: where the coordinator reaches it, and this process' connection to it.
type Peer struct {
	Addr string
	Conn grpc.ClientConnInterface
}

// Dial makes the Peer at host:port; it connects with the first call.
func Dial(addr string) (Peer, error) {
	conn, err := service.Dial(addr)
	return Peer{addr, conn}, err
}

// participant is one branch of a transaction, as checkout sees it.
type participant struct {
	branchID        string
	confirm, cancel string
	payload         func(order.Order) proto.Message
	// try is nil for order's own.
	try func(context.Context, order.Order) error
	// refusal is the reason when a Try refuses without one of the known reasons.
	refusal order.Reason
}

// Participants stand in the order of their registration. The coordinator confirms and cancels in reverse, so order is last.
// Addresses are made of the generated method names: a typo cannot make a Cancel that never runs.

// payers are the payment's four.
func payers(own string, inventory, credit, wms Peer) []participant {
	return []participant{
		{
			branchID: "01",
			confirm:  own + orderv1.OrderPayment_Confirm_FullMethodName,
			cancel:   own + orderv1.OrderPayment_Cancel_FullMethodName,
			payload:  func(o order.Order) proto.Message { return &orderv1.OrderPaymentRequest{OrderId: o.ID} },
		},
		remote("02", inventory.Addr, inventoryv1.StockFreeze_Confirm_FullMethodName, inventoryv1.StockFreeze_Cancel_FullMethodName,
			inventoryv1.NewStockFreezeClient(inventory.Conn).Try, freeze, order.StockNotEnough),
		remote("03", credit.Addr, creditv1.CreditGrant_Confirm_FullMethodName, creditv1.CreditGrant_Cancel_FullMethodName,
			creditv1.NewCreditGrantClient(credit.Conn).Try, grant, order.CreditRefused),
		remote("04", wms.Addr, wmsv1.DeliverySlip_Confirm_FullMethodName, wmsv1.DeliverySlip_Cancel_FullMethodName,
			wmsv1.NewDeliverySlipClient(wms.Conn).Try, delivery, order.DeliveryRefused),
	}
}

// refunders are the refund's four.
func refunders(own string, inventory, credit, wms Peer) []participant {
	return []participant{
		{
			branchID: "01",
			confirm:  own + orderv1.OrderRefund_Confirm_FullMethodName,
			cancel:   own + orderv1.OrderRefund_Cancel_FullMethodName,
			payload:  func(o order.Order) proto.Message { return &orderv1.OrderRefundRequest{OrderId: o.ID} },
		},
		remote("02", inventory.Addr, inventoryv1.StockReturn_Confirm_FullMethodName, inventoryv1.StockReturn_Cancel_FullMethodName,
			inventoryv1.NewStockReturnClient(inventory.Conn).Try, restock, order.StockNotSold),
		remote("03", credit.Addr, creditv1.CreditDeduction_Confirm_FullMethodName, creditv1.CreditDeduction_Cancel_FullMethodName,
			creditv1.NewCreditDeductionClient(credit.Conn).Try, deduct, order.CreditRefused),
		remote("04", wms.Addr, wmsv1.SlipHold_Confirm_FullMethodName, wmsv1.SlipHold_Cancel_FullMethodName,
			wmsv1.NewSlipHoldClient(wms.Conn).Try, hold, order.DeliveryRefused),
	}
}

// remote is a branch of another service: try calls it with the request that request makes of an order.
func remote[R proto.Message](id, addr, confirm, cancel string, try func(context.Context, R, ...grpc.CallOption) (*emptypb.Empty, error), request func(order.Order) R, refusal order.Reason) participant {
	return participant{
		branchID: id,
		confirm:  addr + confirm,
		cancel:   addr + cancel,
		payload:  func(o order.Order) proto.Message { return request(o) },
		try: func(ctx context.Context, o order.Order) error {
			_, err := try(ctx, request(o))
			return err
		},
		refusal: refusal,
	}
}

func (p participant) branch(o order.Order) tcc.Branch {
	return tcc.Branch{ID: p.branchID, Confirm: p.confirm, Cancel: p.cancel, Payload: p.payload(o)}
}

func freeze(o order.Order) *inventoryv1.StockFreezeRequest {
	req := &inventoryv1.StockFreezeRequest{OrderId: o.ID}
	for _, l := range o.Lines {
		req.Lines = append(req.Lines, &inventoryv1.StockFreezeRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
	}
	return req
}

func grant(o order.Order) *creditv1.CreditGrantRequest {
	return &creditv1.CreditGrantRequest{OrderId: o.ID, MemberId: o.MemberID, Points: o.Points}
}

func delivery(o order.Order) *wmsv1.DeliverySlipRequest {
	req := &wmsv1.DeliverySlipRequest{OrderId: o.ID, Address: o.Address}
	for _, l := range o.Lines {
		req.Lines = append(req.Lines, &wmsv1.DeliverySlipRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
	}
	return req
}

func restock(o order.Order) *inventoryv1.StockReturnRequest {
	return &inventoryv1.StockReturnRequest{OrderId: o.ID}
}

func deduct(o order.Order) *creditv1.CreditDeductionRequest {
	return &creditv1.CreditDeductionRequest{OrderId: o.ID, MemberId: o.MemberID, Points: o.Points}
}

func hold(o order.Order) *wmsv1.SlipHoldRequest { return &wmsv1.SlipHoldRequest{OrderId: o.ID} }
