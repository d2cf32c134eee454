// Package delivery lets orders follow their delivery slips.
package delivery

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/emptypb"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/rpc"
)

// Events consumes what the warehouse tells, at least once and in any order.
type Events struct {
	orderv1.UnimplementedDeliveryEventsServer
	keys  tcc.Keys
	store *mysql.Store
}

// New consumes into store what is signed with one of keys.
func New(keys tcc.Keys, store *mysql.Store) *Events { return &Events{keys: keys, store: store} }

// Deliver takes one event. TRY_LATER while the order cannot follow yet, as when it still reads UPDATING.
func (e *Events) Deliver(ctx context.Context, ev *orderv1.DeliveryEvent) (*emptypb.Empty, error) {
	err := e.keys.CheckCall(ctx, orderv1.DeliveryEvents_Deliver_FullMethodName,
		ev.GetEventId(), ev.GetOrderId(), strconv.FormatInt(ev.GetSeq(), 10), ev.GetType().String())
	if err != nil {
		return nil, err
	}
	event, eventType := order.Ship, "order.shipped"
	if ev.GetType() == orderv1.DeliveryEvent_DELIVERED {
		event, eventType = order.Complete, "order.completed"
	}
	if err := e.store.Follow(ctx, ev.GetOrderId(), event, eventType); err != nil {
		return nil, rpc.Error(err)
	}
	return &emptypb.Empty{}, nil
}
