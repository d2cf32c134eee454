package mysql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Work takes the slip id through event, Pick, Ship or Deliver, and gives it as it is then. What other services are told of it is
// in the outbox with the same local transaction. The second time nothing changes. ErrNotFound, also for an UNKNOWN slip;
// ErrIllegal.
func (s *Store) Work(ctx context.Context, id string, event delivery.Event) (delivery.Slip, error) {
	slips := make([]delivery.Slip, 1)
	err := mysql.InTx(ctx, s.db, func(tx *sql.Tx) error {
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
			if err := tell(ctx, q, id, event); err != nil {
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

// tell writes into the outbox what other services are told of event, with the next number of the order.
func tell(ctx context.Context, q *query.Queries, slipID string, event delivery.Event) error {
	message, ok := event.Message()
	if !ok {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if err := q.CountEvent(ctx, slipID); err != nil {
		return err
	}
	return q.InsertEvent(ctx, query.InsertEventParams{EventID: id.String(), EventType: string(message), SlipID: slipID})
}
