package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/order/internal/mysql/query"
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

// timeout closes the order of a due timer. It returns mq.ErrNotYet while a payment may still decide the order.
func (s *Store) timeout(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	_, later, err := s.expire(ctx, tx, e.Subject)
	if err == nil && later {
		err = fmt.Errorf("somebody is at order %s: %w", e.Subject, mq.ErrNotYet)
	}
	return err
}

// Expired returns up to limit orders that should have been closed for at least overdue, the oldest first, by the database's clock.
func (s *Store) Expired(ctx context.Context, overdue time.Duration, limit int32) ([]string, error) {
	return s.q.ListExpired(ctx, query.ListExpiredParams{
		Status: string(order.Close.Transition().From), MinusOverdueUs: -overdue.Microseconds(), Limit: limit,
	})
}

// Expire closes an order that was not paid in time and reports whether it did. It does not while the order is locked, nor while a payment that
// was begun in time is being opened.
func (s *Store) Expire(ctx context.Context, id string) (closed bool, err error) {
	err = s.outbox.InTx(ctx, func(tx *sql.Tx) (err error) {
		if closed, _, err = s.expire(ctx, tx, id); err != nil || !closed {
			return err
		}
		return s.disarm(ctx, tx, id)
	})
	return closed && err == nil, err
}

// expire closes an order that was not paid in time. later reports whether it may still have to be closed: it is locked, it has time left, or a
// payment that was begun in time is being opened and may be given up. An order that a payment holds ends with that payment.
func (s *Store) expire(ctx context.Context, tx *sql.Tx, id string) (closed, later bool, err error) {
	q := s.q.WithTx(tx)
	o, err := q.LockFreeOrder(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		_, err := q.GetState(ctx, id)
		if errors.Is(err, sql.ErrNoRows) {
			return false, false, nil
		}
		return false, true, err
	}
	if err != nil || order.Status(o.Status) != order.Close.Transition().From {
		return false, false, err
	}
	if !o.Expired {
		return false, true, nil
	}
	busy, err := q.HasOpenAttempt(ctx, sql.NullString{String: id, Valid: true})
	if err != nil || busy {
		return false, busy, err
	}
	closed, err = s.closeOrder(ctx, tx, o.MemberID, id, order.Expired)
	return closed, false, err
}
