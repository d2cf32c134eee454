package mysql

import (
	"context"
	"time"

	"github.com/google/uuid"

	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Event is a row of the outbox that a relay has leased.
type Event struct {
	// ID is the event's own: the same each time it is sent.
	ID      string
	OrderID string
	// Seq counts the events of one order from 1.
	Seq     int64
	Message delivery.Message
	// Attempts counts the leases, this one too.
	Attempts int32
	Age      time.Duration

	row   int64
	owner string
}

// LeaseEvents takes up to limit events that are not delivered for lease: of each order only the first, and none that another
// lease or a pause keeps. Times are by the database's clock.
func (s *Store) LeaseEvents(ctx context.Context, lease time.Duration, limit int32) ([]Event, error) {
	due, err := s.q.DueEvents(ctx, limit)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	owner := id.String()
	n, err := s.q.LeaseEvents(ctx, query.LeaseEventsParams{Owner: owner, LeaseUs: lease.Microseconds(), Ids: due})
	if err != nil || n == 0 {
		return nil, err
	}
	rows, err := s.q.ListLeased(ctx, query.ListLeasedParams{Ids: due, Owner: owner})
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i] = Event{
			ID: r.EventID, OrderID: r.OrderID, Seq: r.Seq, Message: delivery.Message(r.EventType), Attempts: r.Attempts,
			Age: time.Duration(r.AgeSeconds) * time.Second, row: r.ID, owner: owner,
		}
	}
	return events, err
}

// EventDelivered notes that e was taken, so that the order's next event may go. Also the second time, and when the lease is over:
// what was taken was taken.
func (s *Store) EventDelivered(ctx context.Context, e Event) error {
	_, err := s.q.MarkDelivered(ctx, e.row)
	return err
}

// PostponeEvent ends e's lease and lets nobody take e for pause. It changes nothing when the lease is another's by now.
func (s *Store) PostponeEvent(ctx context.Context, e Event, pause time.Duration) error {
	_, err := s.q.PostponeEvent(ctx, query.PostponeEventParams{ID: e.row, Owner: e.owner, PauseUs: pause.Microseconds()})
	return err
}
