// Package mysql holds all of order's SQL: queries.sql, what sqlc generates from it, and the steps of several statements.
//
// Every transaction that locks an order and its attempt locks the order first.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/order/internal/mysql/query"
	"example.com/fourfold/order/internal/order"
)

// Store reads and writes shop_order.
type Store struct {
	db     *sql.DB
	q      *query.Queries
	outbox *mq.Outbox
	timers *mq.Timers
	opens  *batch.Runner[*opening]
	states *batch.Runner[*reading[State]]
	orders *batch.Runner[*reading[order.Order]]
}

// NewStore returns a Store of db. It publishes changes of orders through outbox, which must be on the same database.
func NewStore(db *sql.DB, outbox *mq.Outbox) *Store {
	s := &Store{db: db, q: query.New(db), outbox: outbox, opens: batch.New(db, openings), states: batch.New(db, readStates),
		orders: batch.New(db, readOrders)}
	s.timers = mq.NewTimers(outbox, eventv1.TopicOrderTimers, s.timeout)
	// An order whose payment is given up, or whose database refuses writes for an hour, is closed seconds after that ends, and without a hand.
	s.timers.LongestPause, s.timers.Tries = 5*time.Second, 1000
	return s
}

// Create writes a new order, payable for ttl, with its event order.created and the timer that closes it, and calls keep with the written order.
// All of it is one local transaction: when keep fails, nothing is written. It returns order.ErrTooMany when the member has most orders that can
// still be paid, unless most is 0.
func (s *Store) Create(ctx context.Context, o order.Order, ttl time.Duration, most int, keep func(*sql.Tx, order.Order) error) error {
	return s.outbox.InTx(ctx, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		if most > 0 {
			if err := mayOpen(ctx, q, o.MemberID, ttl, most); err != nil {
				return err
			}
		}
		err := q.InsertOrder(ctx, query.InsertOrderParams{
			ID: o.ID, MemberID: o.MemberID, Status: string(o.Status), TotalCents: o.TotalCents, Points: o.Points,
			Address: o.Address, TtlSeconds: int32(ttl / time.Second),
		})
		if err != nil {
			return err
		}
		for _, l := range o.Lines {
			err := q.InsertLine(ctx, query.InsertLineParams{
				OrderID: o.ID, Sku: l.SKU, Name: l.Name, PriceCents: l.PriceCents, Quantity: l.Quantity,
			})
			if err != nil {
				return err
			}
		}
		if err := s.record(ctx, tx, o.ID, eventv1.TypeOrderCreated); err != nil {
			return err
		}
		// Read back, because the times are the database's.
		row, err := q.GetOrder(ctx, query.GetOrderParams{ID: o.ID, MemberID: o.MemberID})
		if err != nil {
			return err
		}
		written := domain(query.ListOrdersRow(row))
		if err := s.arm(ctx, tx, written); err != nil {
			return err
		}
		written.Lines = o.Lines
		return keep(tx, written)
	})
}

// mayOpen returns order.ErrTooMany when the member has most open orders. Until the transaction's end nobody else opens one for the member.
func mayOpen(ctx context.Context, q *query.Queries, memberID string, ttl time.Duration, most int) error {
	if err := q.LockBuyer(ctx, memberID); err != nil {
		return err
	}
	// The ids of orders begin with their time, so only the latest are looked at; a minute is for clocks that differ.
	since := time.Now().Add(-ttl - time.Minute)
	n, err := q.CountOpenOrders(ctx, query.CountOpenOrdersParams{MemberID: memberID, Since: firstID(since)})
	if err == nil && n >= int64(most) {
		err = order.ErrTooMany
	}
	return err
}

// firstID returns what is smaller than each UUID of version 7 that was made since t.
func firstID(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:]
}

// Orders returns up to limit orders of a member, newest first, starting after the order with the id before ("" for the newest).
func (s *Store) Orders(ctx context.Context, memberID, before string, limit int32) ([]order.Order, error) {
	if before == "" {
		before = "~" // sorts after every id
	}
	rows, err := s.q.ListOrders(ctx, query.ListOrdersParams{MemberID: memberID, Before: before, Limit: limit})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	orders := make([]order.Order, len(rows))
	for i, row := range rows {
		orders[i] = domain(row)
	}
	return s.withLines(ctx, orders)
}

// Close cancels an unpaid order. It returns order.ErrState when the order's status does not allow it, and order.ErrNotFound when the member has
// no such order.
func (s *Store) Close(ctx context.Context, memberID, id string, reason order.Reason) error {
	return s.outbox.InTx(ctx, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		closed, err := s.closeOrder(ctx, tx, memberID, id, reason)
		if err != nil {
			return err
		}
		if closed {
			return s.disarm(ctx, tx, id)
		}
		if _, err := q.GetOrder(ctx, query.GetOrderParams{ID: id, MemberID: memberID}); err != nil {
			return found(err)
		}
		return order.ErrState
	})
}

// Follow takes an order through event, which happened in the warehouse, and records it as eventType. The second time it changes nothing. It
// returns order.ErrNotYet when the order has to change first (try again later), order.ErrState when it never will, and order.ErrNotFound.
func (s *Store) Follow(ctx context.Context, tx *sql.Tx, id string, event order.Event, eventType string) error {
	t := event.Transition()
	q := s.q.WithTx(tx)
	o, err := q.LockOrder(ctx, id)
	if err != nil {
		return found(err)
	}
	status := order.Status(o.Status)
	switch {
	case status.After(event):
		return nil
	case status.Awaits(event):
		return fmt.Errorf("%w: %s on %s", order.ErrNotYet, event, status)
	}
	n, err := q.MoveOrder(ctx, query.MoveOrderParams{ID: id, FromStatus: string(t.From), ToStatus: string(t.To)})
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: %s on %s", order.ErrState, event, status)
	}
	return s.record(ctx, tx, id, eventType)
}

// closeOrder cancels an order that is CREATED, and reports whether it was. The order's timer stays armed.
func (s *Store) closeOrder(ctx context.Context, tx *sql.Tx, memberID, id string, reason order.Reason) (closed bool, err error) {
	t := order.Close.Transition()
	n, err := s.q.WithTx(tx).CloseOrder(ctx, query.CloseOrderParams{
		ID: id, MemberID: memberID, FromStatus: string(t.From), ToStatus: string(t.To), Reason: string(reason),
	})
	if err != nil || n == 0 {
		return false, err
	}
	return true, s.record(ctx, tx, id, eventv1.TypeOrderCanceled)
}

func (s *Store) withLines(ctx context.Context, orders []order.Order) ([]order.Order, error) {
	ids := make([]string, len(orders))
	at := make(map[string]int, len(orders))
	for i, o := range orders {
		ids[i], at[o.ID] = o.ID, i
	}
	lines, err := s.q.ListLines(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		o := &orders[at[l.OrderID]]
		o.Lines = append(o.Lines, order.Line{SKU: l.Sku, Name: l.Name, PriceCents: l.PriceCents, Quantity: l.Quantity})
	}
	return orders, nil
}

func domain(r query.ListOrdersRow) order.Order {
	return order.Order{
		ID: r.ID, MemberID: r.MemberID, Status: order.Status(r.Status), Reason: order.Reason(r.Reason), GID: r.Gid,
		TotalCents: r.TotalCents, Points: r.Points, Address: r.Address,
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, PaidAt: r.PaidAt.Time, Version: r.EventSeq,
	}
}

func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return order.ErrNotFound
	}
	return err
}
