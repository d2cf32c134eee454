package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/order/internal/mysql/query"
	"example.com/fourfold/order/internal/order"
)

// AbandonAttempt gives an attempt up unless it has touched the order. It reports whether the attempt holds the order now: then its Try landed
// after all.
func (s *Store) AbandonAttempt(ctx context.Context, kind order.Kind, id, gid string) (held bool, err error) {
	err = database.InTx(ctx, s.db, func(tx *sql.Tx) error {
		held = false
		q := s.q.WithTx(tx)
		// The lock waits for a Try that is still under way and keeps a later one out, which will find no open attempt.
		o, err := q.LockOrder(ctx, id)
		if err != nil {
			return found(err)
		}
		if o.Gid == gid {
			held = order.Status(o.Status) == kind.Try().To
			return nil
		}
		_, err = q.MoveAttempt(ctx, query.MoveAttemptParams{
			Gid: gid, FromState: string(order.AttemptOpen), ToState: string(order.AttemptAbandoned),
		})
		return err
	})
	return held, err
}

// RecordReason keeps why gid is going to be canceled, for Cancel to copy. The first reason stays.
func (s *Store) RecordReason(ctx context.Context, gid string, reason order.Reason) error {
	_, err := s.q.SetReason(ctx, query.SetReasonParams{Gid: gid, State: string(order.AttemptOpen), Reason: string(reason)})
	return err
}

// State is where an order stands.
type State struct {
	Status order.Status
	Reason order.Reason
	GID    string
	// Busy reports whether an attempt to pay or refund it is open.
	Busy bool
	// Expired reports whether its time to be paid is over: no payment of it begins any more.
	Expired bool
}

// LastAttempt returns the state of the last attempt of kind and why it was canceled; "" when there was none.
func (s *Store) LastAttempt(ctx context.Context, kind order.Kind, id string) (order.AttemptState, order.Reason, error) {
	row, err := s.q.GetLastAttempt(ctx, query.GetLastAttemptParams{OrderID: id, Kind: string(kind)})
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", nil
	}
	return order.AttemptState(row.State), order.Reason(row.Reason), err
}

// Overdue is an attempt that has been open for too long.
type Overdue struct {
	OrderID, GID string
	Kind         order.Kind
	Age          time.Duration
}

// AttemptIsOpen is the condition, for alert.ClearUnless, that the attempt whose gid is {key} has not settled.
const AttemptIsOpen = "EXISTS (SELECT 1 FROM payment_attempt WHERE gid = {key} AND state = 'OPEN')"

// LeaseOverdue leases up to limit attempts that have been open for at least age and that no other sweeper has, for lease: those for which Looked
// was called longest ago first. An attempt that is locked is left for later. All times are whole seconds by the database's clock.
func (s *Store) LeaseOverdue(ctx context.Context, age, lease time.Duration, limit int32) (overdue []Overdue, err error) {
	err = database.InTx(ctx, s.db, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		rows, err := q.ListOverdue(ctx, query.ListOverdueParams{
			State: string(order.AttemptOpen), MinusAgeSeconds: -int32(age / time.Second), Limit: limit,
		})
		overdue = nil
		if err != nil || len(rows) == 0 {
			return err
		}
		gids := make([]string, len(rows))
		for i, r := range rows {
			gids[i] = r.Gid
			overdue = append(overdue, Overdue{r.OrderID, r.Gid, order.Kind(r.Kind), time.Duration(r.AgeSeconds) * time.Second})
		}
		return q.LeaseAttempts(ctx, query.LeaseAttemptsParams{LeaseSeconds: int32(lease / time.Second), Gids: gids})
	})
	return overdue, err
}

// Looked records that the attempt gid was looked at just now: all others come before it in LeaseOverdue.
func (s *Store) Looked(ctx context.Context, gid string) error { return s.q.LookAtAttempt(ctx, gid) }

// Ages are the classes of CountOpen, by the database's clock.
var Ages = [...]string{"0-2s", "2-15s", "15-60s", "1-10m", "10m+"}

// CountOpen returns how many attempts of each kind are open, by the classes of Ages.
func (s *Store) CountOpen(ctx context.Context) (map[order.Kind][len(Ages)]int64, error) {
	rows, err := s.q.CountOpenByAge(ctx, string(order.AttemptOpen))
	if err != nil {
		return nil, err
	}
	open := map[order.Kind][len(Ages)]int64{order.Payment: {}, order.Refund: {}}
	for _, r := range rows {
		counts := open[order.Kind(r.Kind)]
		counts[r.Class] += r.Attempts
		open[order.Kind(r.Kind)] = counts
	}
	return open, nil
}

// Progress is where an attempt stands.
type Progress struct {
	// Open reports whether the attempt has not ended.
	Open bool
	// Held reports whether its transaction holds the order.
	Held bool
}

// Attempt returns where the attempt gid of kind stands, or order.ErrNotFound.
func (s *Store) Attempt(ctx context.Context, kind order.Kind, gid string) (Progress, error) {
	row, err := s.q.GetAttemptState(ctx, gid)
	if err != nil {
		return Progress{}, found(err)
	}
	return Progress{
		Open: order.AttemptState(row.State) == order.AttemptOpen,
		Held: row.Gid == gid && order.Status(row.Status) == kind.Try().To,
	}, nil
}
