// Package delivery lets orders follow their delivery slips.
package delivery

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// Subscription returns order's subscription to the warehouse: all events, those of an order one after another.
func Subscription() mq.Subscription {
	return mq.Subscription{
		Group: "order-deliveries", Topic: eventv1.TopicDeliveries, Order: mq.Strict,
		// An order that is being settled can follow in a moment.
		FirstPause: 200 * time.Millisecond, LongestPause: 10 * time.Second,
	}
}

// Events handles the warehouse's events.
type Events struct{ store *mysql.Store }

// New returns Events that writes to store.
func New(store *mysql.Store) *Events { return &Events{store} }

// steps maps each type of event to what the order does about it.
var steps = map[string]struct {
	event     order.Event
	eventType string
}{
	eventv1.TypeDeliveryShipped:   {order.Ship, eventv1.TypeOrderShipped},
	eventv1.TypeDeliveryDelivered: {order.Complete, eventv1.TypeOrderCompleted},
}

// Handle lets the order of e follow. It returns mq.ErrNotYet while a transaction holds the order, which cannot follow then. Any other error
// means that an order in its status can never follow.
func (h *Events) Handle(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	step, ok := steps[e.Type]
	if !ok {
		return nil // other events of the warehouse do not concern an order
	}
	var told eventv1.DeliveryChanged
	if err := e.Read(&told); err != nil {
		return err
	}
	telemetry.Note(ctx, slog.String("order", told.GetOrderId()))
	err := h.store.Follow(ctx, tx, told.GetOrderId(), step.event, step.eventType)
	if errors.Is(err, order.ErrNotYet) {
		return fmt.Errorf("%w: %w", mq.ErrNotYet, err)
	}
	return err
}
