package live

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	orderv1 "example.com/fourfold/api/order/v1"
)

// view is what the client has of the order.
type view struct {
	// order is what it was sent last; nil when nothing is known.
	order *orderv1.Order
}

// newView begins with what the client says it had last. It had first when that has the same number, unless first is on its way to
// another state: such states have no number of their own.
func newView(lastEventID string, first *orderv1.Order) *view {
	if n, err := strconv.ParseInt(lastEventID, 10, 64); err == nil && n > 0 && n == first.GetVersion() && !underWay(first) {
		return &view{first}
	}
	return &view{}
}

// news tells whether the client lacks order: one that is newer, or differs though its number is the same (a payment or a refund that
// begins, and one that is undone). What is older is never news.
func (v *view) news(order *orderv1.Order) bool {
	return v.order == nil || order.GetVersion() > v.order.GetVersion() ||
		order.GetVersion() == v.order.GetVersion() && !proto.Equal(order, v.order)
}

// id is the event's: the version, by which a client that comes back is spared what it has. It is empty while the order is under way, so
// that such a client is told everything.
func id(order *orderv1.Order) string {
	if underWay(order) || order.GetVersion() == 0 {
		return ""
	}
	return strconv.FormatInt(order.GetVersion(), 10)
}

func underWay(order *orderv1.Order) bool {
	return order.GetStatus() == orderv1.Order_UPDATING || order.GetStatus() == orderv1.Order_REFUNDING
}

// final tells whether nothing will become of the order any more.
func final(order *orderv1.Order) bool {
	switch order.GetStatus() {
	case orderv1.Order_COMPLETED, orderv1.Order_CANCELED, orderv1.Order_REFUNDED:
		return true
	}
	return false
}
