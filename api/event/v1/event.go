package eventv1

import alertv1 "example.com/fourfold/api/alert/v1"

// The topics.
const (
	TopicMembers    = "member-events"
	TopicOrders     = "order-events"
	TopicProducts   = "inventory-events"
	TopicDeliveries = "wms-events"
	// TopicOrderTimers wakes order at a time, and is nobody else's.
	TopicOrderTimers = "order-timers"
)

// Topics are all topics: they are made at bring-up.
func Topics() []string {
	return []string{TopicMembers, TopicOrders, TopicProducts, TopicDeliveries, alertv1.Topic, TopicOrderTimers}
}

// The types of events.
const (
	TypeMemberRegistered = "member.registered"

	TypeOrderCreated   = "order.created"
	TypeOrderPaid      = "order.paid"
	TypeOrderCanceled  = "order.canceled"
	TypeOrderShipped   = "order.shipped"
	TypeOrderCompleted = "order.completed"
	TypeOrderRefunded  = "order.refunded"

	TypeProductChanged = "product.changed"

	TypeDeliveryShipped   = "delivery.shipped"
	TypeDeliveryDelivered = "delivery.delivered"
)
