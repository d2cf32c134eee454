package participant

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/order/internal/order"
)

// Inventory is inventory's name. Order also asks it for prices.
const Inventory = "inventory"

// inventory freezes stock and sells it; a refund puts it back.
func inventory() Participant {
	freeze := func(o order.Order) proto.Message {
		req := &inventoryv1.StockFreezeRequest{OrderId: o.ID}
		for _, l := range o.Lines {
			req.Lines = append(req.Lines, &inventoryv1.StockFreezeRequest_Line{Sku: l.SKU, Quantity: int32(l.Quantity)})
		}
		return req
	}
	restock := func(o order.Order) proto.Message {
		return &inventoryv1.StockReturnRequest{OrderId: o.ID}
	}
	return Participant{
		Name: Inventory,
		Payment: Branch{
			Try:     inventoryv1.StockFreeze_Try_FullMethodName,
			Confirm: inventoryv1.StockFreeze_Confirm_FullMethodName,
			Cancel:  inventoryv1.StockFreeze_Cancel_FullMethodName,
			Request: freeze,
			Refusals: map[order.Reason]string{
				order.StockNotEnough: "there is not enough in stock",
				order.ProductUnknown: "a product is no longer sold",
			},
			Otherwise: order.StockNotEnough,
		},
		Refund: Branch{
			Try:       inventoryv1.StockReturn_Try_FullMethodName,
			Confirm:   inventoryv1.StockReturn_Confirm_FullMethodName,
			Cancel:    inventoryv1.StockReturn_Cancel_FullMethodName,
			Request:   restock,
			Refusals:  map[order.Reason]string{order.StockNotSold: "its stock was returned before"},
			Otherwise: order.StockNotSold,
		},
		Settled: "DEDUCTED",
		Facts: func(r order.Record) []string {
			facts := make([]string, len(r.Lines))
			for i, l := range r.Lines {
				facts[i] = l.SKU + "|" + strconv.FormatInt(l.Quantity, 10)
			}
			slices.Sort(facts)
			return facts
		},
	}
}
