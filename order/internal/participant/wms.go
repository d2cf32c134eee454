package participant

import (
	"google.golang.org/protobuf/proto"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/order/internal/order"
)

// wms writes a delivery slip and lets the warehouse see it; a refund takes it back unless it is picked.
func wms() Participant {
	slip := func(o order.Order) proto.Message {
		req := &wmsv1.DeliverySlipRequest{OrderId: o.ID, Address: o.Address}
		for _, l := range o.Lines {
			req.Lines = append(req.Lines, &wmsv1.DeliverySlipRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
		}
		return req
	}
	// What the order was told of its slip, by what it reads; nothing when it is only paid.
	told := map[order.Status]string{order.Shipped: "SHIPPED", order.Completed: "DELIVERED"}
	hold := func(o order.Order) proto.Message { return &wmsv1.SlipHoldRequest{OrderId: o.ID} }
	return Participant{
		Name: "wms",
		Payment: Branch{
			Try:       wmsv1.DeliverySlip_Try_FullMethodName,
			Confirm:   wmsv1.DeliverySlip_Confirm_FullMethodName,
			Cancel:    wmsv1.DeliverySlip_Cancel_FullMethodName,
			Request:   slip,
			Refusals:  map[order.Reason]string{order.DeliveryRefused: "the warehouse takes no orders at the moment"},
			Otherwise: order.DeliveryRefused,
		},
		Refund: Branch{
			Try:       wmsv1.SlipHold_Try_FullMethodName,
			Confirm:   wmsv1.SlipHold_Confirm_FullMethodName,
			Cancel:    wmsv1.SlipHold_Cancel_FullMethodName,
			Request:   hold,
			Refusals:  map[order.Reason]string{order.DeliveryRefused: "the warehouse has picked it already"},
			Otherwise: order.DeliveryRefused,
		},
		Settled: "CREATED or later",
		Facts:   func(r order.Record) []string { return []string{told[r.Status]} },
		Stages:  []string{told[order.Paid], told[order.Shipped], told[order.Completed]},
	}
}
