package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNoDeadLetter means that there is no dead letter with that id; it may have been redriven.
	ErrNoDeadLetter = errors.New("no such dead letter")
	// ErrUnreadable means that the message was not an event: it cannot be tried again, only discarded.
	ErrUnreadable = errors.New("the dead letter is no event")
	// ErrTurnOver means that a later event of its subject had its effect: trying again would do nothing.
	ErrTurnOver = errors.New("the dead letter's turn is over")
)

// InFront is the error about a letter of a strictly ordered group when an earlier event of its subject is here and not done. That one would be
// lost if the letter went first.
type InFront struct {
	// ID is the inbox row of the event in front, Sequence its number, and State WAITING or DEAD.
	ID, Sequence int64
	State        string
}

func (e *InFront) Error() string {
	return fmt.Sprintf("number %d of its subject, which is in front of it, is %s", e.Sequence, e.State)
}

// DeadLetter is an event that a group has given up.
type DeadLetter struct {
	ID                                                       int64
	Group, Topic, Source, EventID, Type, Subject, Generation string
	Sequence                                                 int64
	// Tries is 0 for a letter that only waited for an earlier event.
	Tries  int
	Reason string
	At     time.Time
	// History has one line for each failure, oldest first, and Event is the event as JSON. Only Read fills them in.
	History string
	Event   []byte
}

// DeadLetters are the events that the groups of a service have given up.
type DeadLetters struct {
	db    *sql.DB
	order func(group string) Order
}

// NewDeadLetters returns the dead letters of the service whose database is db. order is Bus.Order.
func NewDeadLetters(db *sql.DB, order func(group string) Order) *DeadLetters {
	return &DeadLetters{db, order}
}

const deadColumns = "id, grp, topic, source, event_id, type, subject, generation, seq, tries, last_error, created_at"

// fields are where to scan deadColumns.
func (l *DeadLetter) fields() []any {
	return []any{&l.ID, &l.Group, &l.Topic, &l.Source, &l.EventID, &l.Type, &l.Subject, &l.Generation, &l.Sequence, &l.Tries, &l.Reason, &l.At}
}

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
		if err := rows.Scan(l.fields()...); err != nil {
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
		append(l.fields(), &history, &l.Event)...)
	if errors.Is(err, sql.ErrNoRows) {
		return DeadLetter{}, fmt.Errorf("%w: %d", ErrNoDeadLetter, id)
	}
	l.History = history.String
	return l, err
}
