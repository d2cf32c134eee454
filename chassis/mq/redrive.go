package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"example.com/fourfold/chassis/database"
)

// revive gives letters all their tries again and keeps their history.
const revive = `UPDATE mq_inbox SET state = 'WAITING', tries = 0, waits = 0, next_at = NOW(3), redriven_at = NOW(3),
	history = RIGHT(CONCAT(COALESCE(history, ''), DATE_FORMAT(NOW(3), '%Y-%m-%dT%H:%i:%s.%fZ '), 'redriven\n'), 8000)
	WHERE state = 'DEAD' AND type <> '?' AND `

// Redrive lets the group try one letter again. A letter that was given up waiting for earlier events does not wait any more for those that never
// came. The error is ErrNoDeadLetter, ErrUnreadable, ErrTurnOver or an *InFront when that is not possible, and nothing is changed.
func (d *DeadLetters) Redrive(ctx context.Context, id int64) error {
	return database.InTx(ctx, d.db, func(tx *sql.Tx) error {
		l, err := lockDead(ctx, tx, id)
		if err != nil {
			return err
		}
		if l.Type == "?" {
			return fmt.Errorf("%w: %d", ErrUnreadable, id)
		}
		if order := d.order(l.Group); order != Unordered && l.Sequence > 0 {
			p, err := l.line().lock(ctx, tx)
			switch {
			case err != nil:
				return err
			case l.Sequence <= p.seq:
				return fmt.Errorf("%w: number %d is over", ErrTurnOver, p.seq)
			case order == Strict && l.Tries == 0:
				err = l.pass(ctx, tx, p, l.Sequence-1)
			}
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, revive+"id = ?", id)
		return err
	})
}

// Redriven says what became of the letters of a group.
type Redriven struct {
	// Redriven are tried again. Over stay dead letters, because a later event of their subject had its effect.
	Redriven, Over int64
}

// RedriveAll lets group try all its letters again. In strict order a subject does not wait any more for the events before its first letter, when
// that letter was given up waiting for them and nothing of the subject that lies before it is here.
func (d *DeadLetters) RedriveAll(ctx context.Context, group string) (r Redriven, err error) {
	order := d.order(group)
	which := "grp = ?"
	if order != Unordered {
		which += ` AND NOT EXISTS (SELECT 1 FROM mq_position p WHERE p.grp = mq_inbox.grp AND p.source = mq_inbox.source
			AND p.subject = mq_inbox.subject AND p.generation = mq_inbox.generation AND p.seq >= mq_inbox.seq AND mq_inbox.seq > 0)`
	}
	err = database.InTx(ctx, d.db, func(tx *sql.Tx) error {
		if order == Strict {
			if err := passGaps(ctx, tx, group); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, revive+which, group)
		if err != nil {
			return err
		}
		if r.Redriven, err = res.RowsAffected(); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD' AND type <> '?' AND grp = ?", group).Scan(&r.Over)
	})
	return r, err
}

// mostPassed is how many numbers RedriveAll passes at most: a person who passes more says so for that letter.
const mostPassed = 10

// passGaps passes the missing events in front of the letters of a strictly ordered group that were given up waiting for them. An event that is
// here, WAITING or DEAD, is not missing.
func passGaps(ctx context.Context, tx *sql.Tx, group string) error {
	lines, err := waitedInVain(ctx, tx, group)
	if err != nil {
		return err
	}
	for _, l := range lines {
		p, err := l.lock(ctx, tx)
		if err != nil {
			return err
		}
		first, err := l.front(ctx, tx, p.seq)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue // all are over
		case err == nil && first.state == stateDead && first.tries == 0 && first.seq > p.seq+1 && first.seq-p.seq <= mostPassed:
			err = l.move(ctx, tx, first.seq-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// waitedInVain returns the lines of group that have letters which were never tried, in the order of their keys.
func waitedInVain(ctx context.Context, tx *sql.Tx, group string) ([]line, error) {
	rows, err := tx.QueryContext(ctx, `SELECT DISTINCT source, subject, generation FROM mq_inbox
		WHERE state = 'DEAD' AND grp = ? AND tries = 0 AND seq > 0 ORDER BY source, subject, generation`, group)
	if err != nil {
		return nil, err
	}
	return scanLines(rows, group)
}

// Discard gives up the letter's effect for good, so that in strict order the events that wait for it go on. The error is ErrNoDeadLetter, or an
// *InFront in a strictly ordered group; then nothing is changed.
func (d *DeadLetters) Discard(ctx context.Context, id int64) error {
	return database.InTx(ctx, d.db, func(tx *sql.Tx) error {
		l, err := lockDead(ctx, tx, id)
		if err != nil {
			return err
		}
		if d.order(l.Group) == Strict && l.Sequence > 0 && l.Type != "?" {
			if err := l.discard(ctx, tx); err != nil {
				return err
			}
		}
		if l.Type == typeWake { // or the sweep would fire the timer when this row is deleted
			if _, err := tx.ExecContext(ctx, `UPDATE mq_timer SET state = 'CANCELED', closed_at = NOW(3) WHERE wake = ? AND state = 'ARMED'`,
				l.EventID); err != nil {
				return err
			}
		}
		slog.WarnContext(ctx, "a dead letter is discarded", "group", l.Group, "event", l.EventID, "type", l.Type, "subject", l.Subject,
			"sequence", l.Sequence)
		_, err = tx.ExecContext(ctx, discarded+"id = ?", id)
		return err
	})
}

const discarded = `UPDATE mq_inbox SET state = 'DROPPED', event = NULL, closed_at = NOW(3) WHERE `

// DiscardUnreadable discards all letters of group that are no events of a service, and returns how many there were. They hold up nothing.
func (d *DeadLetters) DiscardUnreadable(ctx context.Context, group string) (int64, error) {
	res, err := d.db.ExecContext(ctx, discarded+"state = 'DEAD' AND grp = ? AND type = '?'", group)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	if n > 0 {
		slog.WarnContext(ctx, "dead letters that are no events are discarded", "group", group, "letters", n)
	}
	return n, err
}

// discard passes the letter's own number, unless it is over already or out of nowhere, and wakes the event after it.
func (l DeadLetter) discard(ctx context.Context, tx *sql.Tx) error {
	p, err := l.line().lock(ctx, tx)
	if err != nil || l.Sequence <= p.seq || l.Sequence-p.seq > maxLeap {
		return err
	}
	if err := l.pass(ctx, tx, p, l.Sequence); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, wake, append(l.line().args(), l.Sequence+1)...)
	return err
}

// pass moves the position p of the letter's line to seq, past events that never came. It returns an *InFront when one of these is here.
func (l DeadLetter) pass(ctx context.Context, tx *sql.Tx, p position, seq int64) error {
	first, err := l.line().front(ctx, tx, p.seq)
	if err != nil {
		return err // at least the letter is there
	}
	if first.seq < l.Sequence {
		return &InFront{first.id, first.seq, first.state}
	}
	return l.line().move(ctx, tx, max(p.seq, seq))
}

func (l DeadLetter) line() line { return line{l.Group, l.Source, l.Subject, l.Generation} }

// lockDead returns the dead letter id and locks its row, or ErrNoDeadLetter.
func lockDead(ctx context.Context, tx *sql.Tx, id int64) (l DeadLetter, err error) {
	err = tx.QueryRowContext(ctx, "SELECT "+deadColumns+" FROM mq_inbox WHERE state = 'DEAD' AND id = ? FOR UPDATE", id).Scan(l.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return l, fmt.Errorf("%w: %d", ErrNoDeadLetter, id)
	}
	return l, err
}
