package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"example.com/fourfold/chassis/database"
)

// ErrNotRefused means that there is no event of that id which the broker refuses; it may have been sent.
var ErrNotRefused = errors.New("no such refused event")

// DiscardRefused gives up the sending of an event that the broker refuses for good, so that the later ones of its subject are sent. id is its
// row in mq_outbox. It returns ErrNotRefused when the row is none of that kind.
func (o *Outbox) DiscardRefused(ctx context.Context, id int64) error {
	err := o.InTx(ctx, func(tx *sql.Tx) error {
		var event, topic, subject string
		err := tx.QueryRowContext(ctx, `SELECT event_id, topic, subject FROM mq_outbox WHERE id = ? AND state IN ('READY', 'HALF')
			AND refused_at IS NOT NULL FOR UPDATE`, id).Scan(&event, &topic, &subject)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: %d", ErrNotRefused, id)
		}
		if err == nil {
			slog.WarnContext(ctx, "a refused event is discarded", "event", event, "topic", topic, "subject", subject)
			_, err = tx.ExecContext(ctx, "UPDATE mq_outbox SET state = ?, owner = '', closed_at = NOW(3) WHERE id = ?", stateDropped, id)
		}
		return err
	})
	return err
}

// RefusedEvents returns the rows of mq_outbox that hold events which the broker refuses, oldest first.
func RefusedEvents(ctx context.Context, db *sql.DB, limit int) ([]int64, error) {
	return database.IDs(ctx, db, "SELECT id FROM mq_outbox WHERE state IN ('READY', 'HALF') AND refused_at IS NOT NULL ORDER BY id LIMIT ?", limit)
}
