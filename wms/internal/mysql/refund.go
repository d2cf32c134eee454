package mysql

import (
	"context"
	"database/sql"
	"errors"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql/query"
)

// Hold lets the refund gid hold the order's slip: it cannot be picked any more. It returns delivery.ErrIllegal when the slip is not CREATED or
// does not exist.
func (s *Store) Hold(ctx context.Context, tx *sql.Tx, gid, orderID string) error {
	q := s.q.WithTx(tx)
	t := delivery.Hold.Transition()
	n, err := q.HoldSlip(ctx, query.HoldSlipParams{
		OrderID: orderID, RefundGid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err != nil || n == 1 {
		return err
	}
	status, err := q.GetStatus(ctx, orderID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return &delivery.IllegalError{Status: delivery.Status(status), Event: delivery.Hold}
}

// SettleHold takes the slip that the refund gid holds through event, ConfirmHold or CancelHold. It returns tcc.ErrNotTried when gid holds none.
func (s *Store) SettleHold(ctx context.Context, tx *sql.Tx, gid, orderID string, event delivery.Event) error {
	t := event.Transition()
	n, err := s.q.WithTx(tx).MoveHeld(ctx, query.MoveHeldParams{
		OrderID: orderID, RefundGid: gid, FromStatus: string(t.From), ToStatus: string(t.To),
	})
	if err == nil && n == 0 {
		err = tcc.ErrNotTried
	}
	return err
}
