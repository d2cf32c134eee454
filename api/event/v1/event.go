package eventv1

import alertv1 "example.com/fourfold/api/alert/v1"

// The topics.
const (
	TopicMembers    = "member-events"
	TopicOrders     = "order-events"
	TopicProducts   = "inventory-events"
	TopicDeliveries = "wms-events"
	// TopicOrderTimers wakes order at given times. No other service uses it.
	TopicOrderTimers = "order-timers"
)

// Topics returns all topics. They are created at bring-up.
func Topics() []string {
	return []string{TopicMembers, TopicOrders, TopicProducts, TopicDeliveries, alertv1.Topic, TopicOrderTimers}
}

// The types of events.
const (
	TypeMemberRegistered = "member.registered"
	TypeSignUpRefused    = "member.sign-up-refused"

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
