package eventv1

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The topics.
const (
	TopicMembers    = "member-events"
	TopicOrders     = "order-events"
	TopicProducts   = "inventory-events"
	TopicDeliveries = "wms-events"
	TopicAlerts     = "alert-events"
	// TopicOrderTimers wakes order at a time, and is nobody else's.
	TopicOrderTimers = "order-timers"
)

// Topics are all topics: they are made at bring-up.
func Topics() []string {
	return []string{TopicMembers, TopicOrders, TopicProducts, TopicDeliveries, TopicAlerts, TopicOrderTimers}
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

	TypeAlertRaised = "alert.raised"
)

// Data gives m as the data of an event: JSON with the fields' names as in the proto.
func Data(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
}

// Read reads the data of an event into m. Fields that it does not know are of a newer publisher, and left out.
func Read(data []byte, m proto.Message) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
}
