package checkout

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

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

// participant is one branch of the payment, as checkout sees it.
type participant struct {
	branchID        string
	confirm, cancel string
	payload         func(order.Order) proto.Message
	// try is nil for order's own.
	try func(context.Context, order.Order) error
	// refusal is the reason when a Try refuses without one of the known reasons.
	refusal order.Reason
}

// participants are all four in the order of their registration. The coordinator confirms and cancels in reverse, so order
// is last. Addresses are made of the generated method names: a typo cannot make a Cancel that never runs.
func participants(own string, inventory, credit, wms Peer) []participant {
	stock := inventoryv1.NewStockFreezeClient(inventory.Conn)
	points := creditv1.NewCreditGrantClient(credit.Conn)
	slip := wmsv1.NewDeliverySlipClient(wms.Conn)
	return []participant{
		{
			branchID: "01",
			confirm:  own + orderv1.OrderPayment_Confirm_FullMethodName,
			cancel:   own + orderv1.OrderPayment_Cancel_FullMethodName,
			payload:  func(o order.Order) proto.Message { return &orderv1.OrderPaymentRequest{OrderId: o.ID} },
		},
		{
			branchID: "02",
			confirm:  inventory.Addr + inventoryv1.StockFreeze_Confirm_FullMethodName,
			cancel:   inventory.Addr + inventoryv1.StockFreeze_Cancel_FullMethodName,
			payload:  func(o order.Order) proto.Message { return freeze(o) },
			try: func(ctx context.Context, o order.Order) error {
				_, err := stock.Try(ctx, freeze(o))
				return err
			},
			refusal: order.StockNotEnough,
		},
		{
			branchID: "03",
			confirm:  credit.Addr + creditv1.CreditGrant_Confirm_FullMethodName,
			cancel:   credit.Addr + creditv1.CreditGrant_Cancel_FullMethodName,
			payload:  func(o order.Order) proto.Message { return grant(o) },
			try: func(ctx context.Context, o order.Order) error {
				_, err := points.Try(ctx, grant(o))
				return err
			},
			refusal: order.CreditRefused,
		},
		{
			branchID: "04",
			confirm:  wms.Addr + wmsv1.DeliverySlip_Confirm_FullMethodName,
			cancel:   wms.Addr + wmsv1.DeliverySlip_Cancel_FullMethodName,
			payload:  func(o order.Order) proto.Message { return delivery(o) },
			try: func(ctx context.Context, o order.Order) error {
				_, err := slip.Try(ctx, delivery(o))
				return err
			},
			refusal: order.DeliveryRefused,
		},
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
