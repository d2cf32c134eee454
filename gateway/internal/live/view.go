package live

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	orderv1 "example.com/fourfold/api/order/v1"
)

// view is what the client has of the order.
type view struct {
	// order is the order as it was sent last; nil when nothing is known.
	order *orderv1.Order
}

// newView returns a view for a client that had the event lastEventID last. The client has first if the numbers are equal, unless first is on its
// way to another state: such states have no number of their own.
func newView(lastEventID string, first *orderv1.Order) *view {
	if n, err := strconv.ParseInt(lastEventID, 10, 64); err == nil && n > 0 && n == first.GetVersion() && !underWay(first) {
		return &view{first}
	}
	return &view{}
}

// news reports whether the client lacks order: it is newer, or differs with the same number (a payment or a refund that begins, and one that is
// undone). An older one is never news.
func (v *view) news(order *orderv1.Order) bool {
	return v.order == nil || order.GetVersion() > v.order.GetVersion() ||
		order.GetVersion() == v.order.GetVersion() && !proto.Equal(order, v.order)
}

// id returns the event's id: the version, so that a client that comes back is not sent again what it has. It is empty while the order is under
// way, so that such a client is sent everything.
func id(order *orderv1.Order) string {
	if underWay(order) || order.GetVersion() == 0 {
		return ""
	}
	return strconv.FormatInt(order.GetVersion(), 10)
}

func underWay(order *orderv1.Order) bool {
	return order.GetStatus() == orderv1.Order_UPDATING || order.GetStatus() == orderv1.Order_REFUNDING
}

// final reports whether the order will not change any more.
func final(order *orderv1.Order) bool {
	switch order.GetStatus() {
	case orderv1.Order_COMPLETED, orderv1.Order_CANCELED, orderv1.Order_REFUNDED:
		return true
	}
	return false
}
