package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/fourfold/chassis/database"
)

var (
	// ErrNoPosition means that the group has no position for that subject, source and generation.
	ErrNoPosition = errors.New("no such position")
	// ErrHadEffect means that an event after the position asked for had its effect, and would not have it again.
	ErrHadEffect = errors.New("an event after that number had its effect")
)

// Position is how far an ordered group is with a subject.
type Position struct {
	Group, Source, Subject, Generation string
	// Sequence is the last number that had its effect or was passed, and At when that was.
	Sequence int64
	At       time.Time
	// Waiting is the first number after it that is here and not done, 0 for none.
	Waiting int64
}

// Positions returns how far the groups that use db are with subject, all groups when group is empty.
func Positions(ctx context.Context, db *sql.DB, subject, group string) ([]Position, error) {
	rows, err := db.QueryContext(ctx, `SELECT p.grp, p.source, p.subject, p.generation, p.seq, p.updated_at, COALESCE((SELECT MIN(i.seq)
			FROM mq_inbox i WHERE i.grp = p.grp AND i.source = p.source AND i.subject = p.subject AND i.generation = p.generation
			AND i.seq > p.seq AND i.state IN ('WAITING', 'DEAD') AND i.type <> '?'), 0)
		FROM mq_position p WHERE p.subject = ? AND (? = '' OR p.grp = ?) ORDER BY p.grp, p.source, p.generation LIMIT 1000`, subject, group, group)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []Position
	for rows.Next() {
		var p Position
		if err := rows.Scan(&p.Group, &p.Source, &p.Subject, &p.Generation, &p.Sequence, &p.At, &p.Waiting); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// MovePosition makes a group go on after number to, in a strictly ordered group with the next one, and returns how many events it forgot: those
// that were dropped as old and come after to now. They have their effect when they are sent again. The error is ErrNoPosition; ErrHadEffect when
// an event after to is known to have had its effect; or an *InFront when an event up to to is here and not done. Then nothing is changed.
func MovePosition(ctx context.Context, db *sql.DB, of Position, to int64) (forgotten int64, err error) {
	l := line{of.Group, of.Source, of.Subject, of.Generation}
	err = database.InTx(ctx, db, func(tx *sql.Tx) error {
		p, err := l.locked(ctx, tx)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNoPosition
		}
		if err != nil {
			return err
		}
		first, err := l.front(ctx, tx, p.seq)
		switch {
		case err == nil && first.seq <= to:
			return &InFront{first.id, first.seq, first.state}
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		}
		var done int64
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM mq_inbox WHERE "+byLine+" AND state IN ('DONE', 'DROPPED')",
			l.args()...).Scan(&done); err != nil {
			return err
		}
		if done > to {
			return fmt.Errorf("%w: %d", ErrHadEffect, done)
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM mq_inbox WHERE "+byLine+" AND state = 'OLD' AND seq > ?", append(l.args(), to)...)
		if err != nil {
			return err
		}
		if forgotten, err = res.RowsAffected(); err != nil {
			return err
		}
		if err := l.move(ctx, tx, to); err != nil {
			return err
		}
		slog.WarnContext(ctx, "a position is moved", "group", of.Group, "source", of.Source, "subject", of.Subject, "generation", of.Generation,
			"from", p.seq, "to", to, "forgotten", forgotten)
		_, err = tx.ExecContext(ctx, wake, append(l.args(), to+1)...)
		return err
	})
	return forgotten, err
}
