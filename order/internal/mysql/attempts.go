package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/mysql/query"
	"example.com/fourfold/order/internal/order"
)

// OpenAttempt records that gid is about to pay or refund a member's order, and reports whether the attempt was opened. It is not when the
// order's status does not allow it or another attempt is open. An order to be paid that has expired is closed instead. It returns
// order.ErrNotFound when the member has no such order.
func (s *Store) OpenAttempt(ctx context.Context, kind order.Kind, memberID, id, gid string) (opened bool, err error) {
	err = database.InTx(ctx, s.db, func(tx *sql.Tx) error {
		opened = false
		q := s.q.WithTx(tx)
		o, err := q.LockOrder(ctx, id)
		if err != nil {
			return found(err)
		}
		if o.MemberID != memberID {
			return order.ErrNotFound
		}
		if order.Status(o.Status) != kind.Try().From {
			return nil
		}
		busy, err := q.HasOpenAttempt(ctx, sql.NullString{String: id, Valid: true})
		if err != nil || busy {
			return err
		}
		if kind == order.Payment && o.Expired {
			if _, err := s.closeOrder(ctx, tx, o.MemberID, o.ID, order.Expired); err != nil {
				return err
			}
			return s.disarm(ctx, tx, o.ID)
		}
		opened = true
		return q.InsertAttempt(ctx, query.InsertAttemptParams{
			OrderID: o.ID, Gid: gid, Kind: string(kind), State: string(order.AttemptOpen),
		})
	})
	if err != nil {
		return false, err
	}
	return opened, nil
}

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

// Hold is kind's Try: gid holds the order from now on. It returns order.ErrState when the order's status does not allow it or gid's attempt is
// not open.
func (s *Store) Hold(ctx context.Context, tx *sql.Tx, kind order.Kind, id, gid string) error {
	q := s.q.WithTx(tx)
	t := kind.Try()
	n, err := q.HoldOrder(ctx, query.HoldOrderParams{ID: id, Gid: gid, FromStatus: string(t.From), ToStatus: string(t.To)})
	if err != nil {
		return err
	}
	if n == 0 {
		return order.ErrState
	}
	_, err = q.LockOpenAttempt(ctx, query.LockOpenAttemptParams{Gid: gid, OrderID: id, State: string(order.AttemptOpen)})
	if errors.Is(err, sql.ErrNoRows) {
		return order.ErrState
	}
	return err
}

// ConfirmPayment writes PAID and its event. It returns tcc.ErrNotTried when gid does not hold the order.
func (s *Store) ConfirmPayment(ctx context.Context, tx *sql.Tx, id, gid string) error {
	return s.settle(ctx, tx, order.ConfirmPayment, id, gid, "", eventv1.TypeOrderPaid)
}

// CancelPayment writes CANCELED with the attempt's reason, PAYMENT_TIMEOUT when it has none, and its event. It returns tcc.ErrNotTried when gid
// does not hold the order.
func (s *Store) CancelPayment(ctx context.Context, tx *sql.Tx, id, gid string) error {
	a, err := s.q.WithTx(tx).GetAttempt(ctx, gid)
	if errors.Is(err, sql.ErrNoRows) {
		return tcc.ErrNotTried
	}
	if err != nil {
		return err
	}
	if a.Reason == "" {
		a.Reason = string(order.PaymentTimeout)
	}
	return s.settle(ctx, tx, order.CancelPayment, id, gid, order.Reason(a.Reason), eventv1.TypeOrderCanceled)
}

// ConfirmRefund writes REFUNDED and its event. It returns tcc.ErrNotTried when gid does not hold the order.
func (s *Store) ConfirmRefund(ctx context.Context, tx *sql.Tx, id, gid string) error {
	return s.settle(ctx, tx, order.ConfirmRefund, id, gid, "", eventv1.TypeOrderRefunded)
}

// CancelRefund writes PAID again; the attempt keeps the reason. It returns tcc.ErrNotTried when gid does not hold the order.
func (s *Store) CancelRefund(ctx context.Context, tx *sql.Tx, id, gid string) error {
	return s.settle(ctx, tx, order.CancelRefund, id, gid, "", "")
}

// settle ends gid's hold of the order and its attempt, and records the event unless it is "".
func (s *Store) settle(ctx context.Context, tx *sql.Tx, event order.Event, id, gid string, reason order.Reason, eventType string) error {
	q := s.q.WithTx(tx)
	t := event.Transition()
	n, err := q.SettleOrder(ctx, query.SettleOrderParams{
		ID: id, Gid: gid, FromStatus: string(t.From), ToStatus: string(t.To), Reason: string(reason),
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return tcc.ErrNotTried
	}
	n, err = q.MoveAttempt(ctx, query.MoveAttemptParams{
		Gid: gid, FromState: string(order.AttemptOpen), ToState: string(order.AttemptDone),
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return tcc.ErrNotTried
	}
	if eventType == "" {
		return nil
	}
	if event == order.ConfirmPayment || event == order.CancelPayment {
		if err := s.disarm(ctx, tx, id); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, id, eventType)
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

// State returns where an order stands, or order.ErrNotFound.
func (s *Store) State(ctx context.Context, id string) (State, error) {
	row, err := s.q.GetState(ctx, id)
	if err != nil {
		return State{}, found(err)
	}
	return State{order.Status(row.Status), order.Reason(row.Reason), row.Gid, row.Busy, row.Expired}, nil
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
