package relay

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql"
)

// ToOrder sends by calling order at conn directly, signed with keys.
func ToOrder(conn grpc.ClientConnInterface, keys tcc.Keys) Send {
	client := orderv1.NewDeliveryEventsClient(conn)
	return func(ctx context.Context, e mysql.Event) error {
		event := &orderv1.DeliveryEvent{EventId: e.ID, OrderId: e.OrderID, Seq: e.Seq}
		switch e.Message {
		case delivery.MessageShipped:
			event.Type = orderv1.DeliveryEvent_SHIPPED
		case delivery.MessageDelivered:
			event.Type = orderv1.DeliveryEvent_DELIVERED
		default:
			return fmt.Errorf("order does not know the message %q", e.Message)
		}
		signed := keys.CallHeaders(orderv1.DeliveryEvents_Deliver_FullMethodName,
			e.ID, e.OrderID, strconv.FormatInt(e.Seq, 10), event.GetType().String())
		_, err := client.Deliver(metadata.NewOutgoingContext(ctx, metadata.New(signed)), event)
		return err
	}
}
