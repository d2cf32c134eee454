package mysql

import (
	"context"
	"database/sql"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/order/internal/mysql/query"
)

// record writes the order's next event, in the local transaction of the change: to the log, which is kept, and to the outbox for subscribers,
// with the same id; subscribers count from the beginning of the generation. It does not need the broker.
func (s *Store) record(ctx context.Context, tx *sql.Tx, orderID, eventType string) error {
	q, id := s.q.WithTx(tx), mq.NewID()
	if err := q.CountEvent(ctx, orderID); err != nil {
		return err
	}
	if err := q.InsertEvent(ctx, query.InsertEventParams{EventID: id, EventType: eventType, OrderID: orderID}); err != nil {
		return err
	}
	o, err := q.GetChange(ctx, orderID)
	if err != nil {
		return err
	}
	lines, err := q.ListLines(ctx, []string{orderID})
	if err != nil {
		return err
	}
	change := &eventv1.OrderChanged{
		OrderId: orderID, MemberId: o.MemberID, Status: o.Status, Reason: o.Reason, TotalCents: o.TotalCents, Points: o.Points,
	}
	for _, l := range lines {
		change.Lines = append(change.Lines, &eventv1.OrderChanged_Line{Sku: l.Sku, Name: l.Name, Quantity: l.Quantity, PriceCents: l.PriceCents})
	}
	data, err := mq.Data(change)
	if err != nil {
		return err
	}
	return s.outbox.Append(ctx, tx, eventv1.TopicOrders, mq.Event{
		ID: id, Type: eventType, Subject: orderID, Sequence: o.Number, Data: data,
	})
}
