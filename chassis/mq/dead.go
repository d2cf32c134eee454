package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/database"
)

// ErrNoDeadLetter means that there is no dead letter with that id; it may have been redriven.
var ErrNoDeadLetter = errors.New("no such dead letter")

// ErrUnreadable means that the message was not an event: it cannot be tried again, only discarded.
var ErrUnreadable = errors.New("the dead letter is no event")

// DeadLetter is an event that a group has given up.
type DeadLetter struct {
	ID                                           int64
	Group, Topic, Source, EventID, Type, Subject string
	Sequence                                     int64
	Tries                                        int
	Reason                                       string
	At                                           time.Time
	// History has one line for each failure, oldest first, and Event is the event as JSON. Only Read fills them in.
	History string
	Event   []byte
}

// DeadLetters are the events that the groups of a service have given up.
type DeadLetters struct{ db *sql.DB }

// NewDeadLetters returns the dead letters of the service whose database is db.
func NewDeadLetters(db *sql.DB) *DeadLetters { return &DeadLetters{db} }

const deadColumns = "id, grp, topic, source, event_id, type, subject, seq, tries, last_error, created_at"

// List returns up to limit dead letters of group, or of all groups when it is empty, with ids above after.
func (d *DeadLetters) List(ctx context.Context, group string, after int64, limit int) ([]DeadLetter, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT `+deadColumns+` FROM mq_inbox
		WHERE state = 'DEAD' AND id > ? AND (? = '' OR grp = ?) ORDER BY id LIMIT ?`, after, group, group, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var letters []DeadLetter
	for rows.Next() {
		var l DeadLetter
		if err := rows.Scan(&l.ID, &l.Group, &l.Topic, &l.Source, &l.EventID, &l.Type, &l.Subject, &l.Sequence, &l.Tries, &l.Reason,
			&l.At); err != nil {
			return nil, err
		}
		letters = append(letters, l)
	}
	return letters, rows.Err()
}

// Read returns one dead letter with History and Event, or ErrNoDeadLetter.
func (d *DeadLetters) Read(ctx context.Context, id int64) (DeadLetter, error) {
	var (
		l       DeadLetter
		history sql.NullString
	)
	err := d.db.QueryRowContext(ctx, `SELECT `+deadColumns+`, history, event FROM mq_inbox WHERE state = 'DEAD' AND id = ?`, id).Scan(
		&l.ID, &l.Group, &l.Topic, &l.Source, &l.EventID, &l.Type, &l.Subject, &l.Sequence, &l.Tries, &l.Reason, &l.At, &history, &l.Event)
	if errors.Is(err, sql.ErrNoRows) {
		return DeadLetter{}, fmt.Errorf("%w: %d", ErrNoDeadLetter, id)
	}
	l.History = history.String
	return l, err
}

// pass moves a subject's position past an event that will not have its effect any more. It inserts the row when that event is the subject's
// first.
const pass = `INSERT INTO mq_position (grp, source, subject, seq) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))`

// revive gives letters all their tries again and keeps their history.
const revive = `UPDATE mq_inbox SET state = 'WAITING', tries = 0, waits = 0, next_at = NOW(3),
	history = RIGHT(CONCAT(COALESCE(history, ''), DATE_FORMAT(NOW(3), '%Y-%m-%dT%H:%i:%s.%fZ '), 'redriven\n'), 8000)
	WHERE state = 'DEAD' AND type <> '?' AND `

// Redrive lets the group try one letter again. It returns ErrNoDeadLetter or ErrUnreadable when that is not possible. A letter that was given up
// waiting for the events before it does not wait for them any more.
func (d *DeadLetters) Redrive(ctx context.Context, id int64) error {
	_, err := d.redrive(ctx, "id = ?", id)
	if !errors.Is(err, ErrNoDeadLetter) {
		return err
	}
	if l, err := d.Read(ctx, id); err != nil {
		return err
	} else if l.Type == "?" {
		return fmt.Errorf("%w: %d", ErrUnreadable, id)
	}
	return err
}

// RedriveAll lets group try all its letters again and returns how many there were.
func (d *DeadLetters) RedriveAll(ctx context.Context, group string) (int64, error) {
	n, err := d.redrive(ctx, "grp = ?", group)
	if errors.Is(err, ErrNoDeadLetter) {
		return 0, nil
	}
	return n, err
}

// redrive revives the letters that match which and returns how many; ErrNoDeadLetter when none does.
func (d *DeadLetters) redrive(ctx context.Context, which string, arg any) (n int64, err error) {
	err = database.InTx(ctx, d.db, func(tx *sql.Tx) error {
		// Letters that were never tried waited for an earlier event: whoever redrives them says that it will not come.
		if _, err := tx.ExecContext(ctx, `INSERT INTO mq_position (grp, source, subject, seq)
			SELECT grp, source, subject, MIN(seq) - 1 FROM mq_inbox WHERE state = 'DEAD' AND tries = 0 AND seq > 0 AND `+which+`
			GROUP BY grp, source, subject ON DUPLICATE KEY UPDATE seq = GREATEST(mq_position.seq, VALUES(seq))`, arg); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, revive+which, arg)
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err == nil && n == 0 {
			err = ErrNoDeadLetter
		}
		return err
	})
	return n, err
}

// Discard gives up the letter's effect for good, so that in strict order the events that wait for it go on. It returns ErrNoDeadLetter when
// there is no such letter.
func (d *DeadLetters) Discard(ctx context.Context, id int64) error {
	return database.InTx(ctx, d.db, func(tx *sql.Tx) error {
		var (
			group, source, subject, typ, event string
			seq                                int64
		)
		err := tx.QueryRowContext(ctx,
			`SELECT grp, source, subject, seq, type, event_id FROM mq_inbox WHERE state = 'DEAD' AND id = ? FOR UPDATE`, id).Scan(
			&group, &source, &subject, &seq, &typ, &event)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: %d", ErrNoDeadLetter, id)
		}
		if err != nil {
			return err
		}
		if seq > 0 {
			if _, err := tx.ExecContext(ctx, pass, group, source, subject, seq); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, wake, group, source, subject, seq+1); err != nil {
				return err
			}
		}
		if typ == typeWake { // or the sweep would fire the timer when this row is deleted
			if _, err := tx.ExecContext(ctx, `UPDATE mq_timer SET state = 'CANCELED', closed_at = NOW(3) WHERE wake = ? AND state = 'ARMED'`,
				event); err != nil {
				return err
			}
		}
		return one(tx.ExecContext(ctx, `UPDATE mq_inbox SET state = 'OLD', event = NULL, closed_at = NOW(3) WHERE id = ?`, id))
	})
}

func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return ErrNoDeadLetter
}
