package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/order/internal/order"
)

// Each order has a timer for the moment from which it cannot be paid any more. The transaction that writes the order arms it, and the one that
// pays or cancels the order disarms it.

func expiryID(orderID string) string { return "expiry:" + orderID }

func (s *Store) arm(ctx context.Context, tx *sql.Tx, o order.Order) error {
	return s.timers.At(ctx, tx, expiryID(o.ID), o.ExpiresAt, mq.Event{Type: "order.overdue", Subject: o.ID, Time: o.ExpiresAt})
}

// disarm cancels the order's timer, when something else than the timer settles the order.
func (s *Store) disarm(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := s.timers.Cancel(ctx, tx, expiryID(id))
	return err
}

// RunTimers closes orders at their time until ctx ends. It is run in the background.
func (s *Store) RunTimers(ctx context.Context) error { return s.timers.Run(ctx) }

// timeout is what the timer of e's order does.
func (s *Store) timeout(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	_, err := s.Expire(ctx, tx, e.Subject)
	return err
}

// Expire closes an order that was not paid in time and reports whether it did. It returns mq.ErrNotYet while the order may have to be
// closed later: somebody has it locked, it has time left by the database's clock, or a payment that began in time is being opened, which
// may be given up. An order that a payment holds ends with that payment.
func (s *Store) Expire(ctx context.Context, tx *sql.Tx, id string) (closed bool, err error) {
	q := s.q.WithTx(tx)
	o, err := q.LockFreeOrder(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		if _, err := q.GetState(ctx, id); errors.Is(err, sql.ErrNoRows) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		return false, fmt.Errorf("order %s is locked: %w", id, mq.ErrNotYet)
	}
	if err != nil || order.Status(o.Status) != order.Close.Transition().From {
		return false, err
	}
	if !o.Expired {
		return false, fmt.Errorf("order %s has time left: %w", id, mq.ErrNotYet)
	}
	busy, err := q.HasOpenAttempt(ctx, sql.NullString{String: id, Valid: true})
	if err != nil {
		return false, err
	}
	if busy {
		return false, fmt.Errorf("a payment of order %s is being opened: %w", id, mq.ErrNotYet)
	}
	return s.closeOrder(ctx, tx, o.MemberID, id, order.Expired)
}
