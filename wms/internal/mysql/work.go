package mysql

import (
	"context"
	"database/sql"
	"errors"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Work takes the slip id through event, Pick, Ship or Deliver, and returns it as it is then. The same local transaction writes the event for
// other services to the outbox. The second time nothing changes. It returns delivery.ErrNotFound, also for an UNKNOWN slip, and
// delivery.ErrIllegal when the slip's state does not allow event.
func (s *Store) Work(ctx context.Context, id string, event delivery.Event) (delivery.Slip, error) {
	slips := make([]delivery.Slip, 1)
	err := s.outbox.InTx(ctx, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		row, err := q.LockSlip(ctx, id)
		if errors.Is(err, sql.ErrNoRows) {
			return delivery.ErrNotFound
		}
		if err != nil {
			return err
		}
		slips[0] = slip(query.ListSlipsRow(row))
		t := event.Transition()
		switch status := slips[0].Status; status {
		case delivery.Unknown:
			return delivery.ErrNotFound
		case t.To: // done before
		default:
			if slips[0].Status, err = status.On(event); err != nil {
				return err
			}
			n, err := q.WorkSlip(ctx, query.WorkSlipParams{ID: id, FromStatus: string(t.From), ToStatus: string(t.To)})
			if err != nil {
				return err
			}
			if n != 1 {
				return errors.New("the slip moved under its lock")
			}
			if err := s.tell(ctx, tx, slips[0], event); err != nil {
				return err
			}
		}
		return addLines(ctx, q, slips)
	})
	if err != nil {
		return delivery.Slip{}, err
	}
	return slips[0], nil
}

// tell writes to the outbox what is published about event, which brought slip to its status, with the order's next number.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, slip delivery.Slip, event delivery.Event) error {
	message, ok := event.Message()
	if !ok {
		return nil
	}
	q := s.q.WithTx(tx)
	if err := q.CountEvent(ctx, slip.ID); err != nil {
		return err
	}
	number, err := q.GetEventNumber(ctx, slip.ID)
	if err != nil {
		return err
	}
	data, err := mq.Data(&eventv1.DeliveryChanged{DeliveryId: slip.ID, OrderId: slip.OrderID, Status: string(slip.Status)})
	if err != nil {
		return err
	}
	return s.outbox.Append(ctx, tx, eventv1.TopicDeliveries, mq.Event{
		Type: string(message), Subject: slip.OrderID, Sequence: number, Data: data,
	})
}
