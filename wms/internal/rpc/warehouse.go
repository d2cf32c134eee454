package rpc

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql"
)

// Warehouse serves the slips to the staff, records their work, and opens and closes the warehouse.
type Warehouse struct {
	wmsv1.UnimplementedWarehouseServer
	store *mysql.Store
}

// NewWarehouse returns the service over store.
func NewWarehouse(store *mysql.Store) *Warehouse { return &Warehouse{store: store} }

// ListDeliveries returns a page of slips, newest first, never UNKNOWN ones.
func (w *Warehouse) ListDeliveries(ctx context.Context, req *wmsv1.ListDeliveriesRequest) (*wmsv1.ListDeliveriesReply, error) {
	list := page.Of("deliveries", req.GetOrderId(), req.GetStatus().String())
	before, err := list.After(req.GetPageToken())
	if err != nil {
		return nil, Error(fmt.Errorf("%w %w", delivery.ErrInvalid, err))
	}
	if id := req.GetOrderId(); id != "" {
		if err := delivery.CheckID("order_id", id); err != nil {
			return nil, Error(err)
		}
	}
	size := page.Size(req.GetPageSize())
	filter := mysql.Filter{OrderID: req.GetOrderId(), Before: before}
	if req.GetStatus() != wmsv1.Delivery_STATUS_UNSPECIFIED {
		filter.Status = delivery.Status(req.GetStatus().String()) // the proto's statuses have the domain's names
	}
	slips, err := w.store.Slips(ctx, filter, size+1)
	if err != nil {
		return nil, err
	}
	reply := &wmsv1.ListDeliveriesReply{}
	reply.Deliveries, reply.NextPageToken = page.Cut(list, slips, size, func(s delivery.Slip) string { return s.ID }, protoDelivery)
	return reply, nil
}

// PickDelivery records that the goods are off the shelves.
func (w *Warehouse) PickDelivery(ctx context.Context, req *wmsv1.PickDeliveryRequest) (*wmsv1.Delivery, error) {
	return w.work(ctx, req.GetId(), delivery.Pick)
}

// ShipDelivery records that the carrier has the parcel.
func (w *Warehouse) ShipDelivery(ctx context.Context, req *wmsv1.ShipDeliveryRequest) (*wmsv1.Delivery, error) {
	return w.work(ctx, req.GetId(), delivery.Ship)
}

// CompleteDelivery records that the shopper has the parcel.
func (w *Warehouse) CompleteDelivery(ctx context.Context, req *wmsv1.CompleteDeliveryRequest) (*wmsv1.Delivery, error) {
	return w.work(ctx, req.GetId(), delivery.Deliver)
}

// work takes a slip through event. It answers DELIVERY_NOT_FOUND, also for what cannot be a slip's id, or DELIVERY_STATE.
func (w *Warehouse) work(ctx context.Context, id string, event delivery.Event) (*wmsv1.Delivery, error) {
	if delivery.CheckID("id", id) != nil {
		return nil, Error(delivery.ErrNotFound)
	}
	slip, err := w.store.Work(ctx, id, event)
	if err != nil {
		return nil, Error(err)
	}
	return protoDelivery(slip), nil
}

// SetOpen opens or closes the warehouse. Once it has answered "closed", every later Try is refused, and every earlier one has ended.
func (w *Warehouse) SetOpen(ctx context.Context, req *wmsv1.SetOpenRequest) (*wmsv1.WarehouseState, error) {
	if err := w.store.SetOpen(ctx, req.GetOpen()); err != nil {
		return nil, err
	}
	return &wmsv1.WarehouseState{Open: req.GetOpen()}, nil
}

func protoDelivery(s delivery.Slip) *wmsv1.Delivery {
	d := &wmsv1.Delivery{
		Id: s.ID, OrderId: s.OrderID, Address: s.Address, CreatedAt: timestamppb.New(s.CreatedAt),
		Status: wmsv1.Delivery_Status(wmsv1.Delivery_Status_value[string(s.Status)]),
	}
	for _, l := range s.Lines {
		d.Lines = append(d.Lines, &wmsv1.Delivery_Line{Sku: l.SKU, Quantity: l.Quantity})
	}
	return d
}
