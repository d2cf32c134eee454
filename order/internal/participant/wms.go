package participant

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/order/internal/order"
)

// wms writes a delivery slip and lets the warehouse see it; a refund takes it back unless it is picked.
func wms() Participant {
	slip := func(o order.Order) *wmsv1.DeliverySlipRequest {
		req := &wmsv1.DeliverySlipRequest{OrderId: o.ID, Address: o.Address}
		for _, l := range o.Lines {
			req.Lines = append(req.Lines, &wmsv1.DeliverySlipRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
		}
		return req
	}
	hold := func(o order.Order) *wmsv1.SlipHoldRequest { return &wmsv1.SlipHoldRequest{OrderId: o.ID} }
	return Participant{
		Name: "wms",
		Payment: Branch{
			Confirm: wmsv1.DeliverySlip_Confirm_FullMethodName,
			Cancel:  wmsv1.DeliverySlip_Cancel_FullMethodName,
			Request: func(o order.Order) proto.Message { return slip(o) },
			Try: func(ctx context.Context, conn grpc.ClientConnInterface, o order.Order) error {
				_, err := wmsv1.NewDeliverySlipClient(conn).Try(ctx, slip(o))
				return err
			},
			Refusals:  map[order.Reason]string{order.DeliveryRefused: "the warehouse takes no orders at the moment"},
			Otherwise: order.DeliveryRefused,
		},
		Refund: Branch{
			Confirm: wmsv1.SlipHold_Confirm_FullMethodName,
			Cancel:  wmsv1.SlipHold_Cancel_FullMethodName,
			Request: func(o order.Order) proto.Message { return hold(o) },
			Try: func(ctx context.Context, conn grpc.ClientConnInterface, o order.Order) error {
				_, err := wmsv1.NewSlipHoldClient(conn).Try(ctx, hold(o))
				return err
			},
			Refusals:  map[order.Reason]string{order.DeliveryRefused: "the warehouse has picked it already"},
			Otherwise: order.DeliveryRefused,
		},
		Settled: "CREATED or later",
		Facts:   func(order.Record) []string { return []string{""} }, // that there is a slip
	}
}
