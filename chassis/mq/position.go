package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// line is what one group sees of one subject's numbered events: those of one source, in one generation of its database.
type line struct{ group, source, subject, generation string }

func (in *inbox) line(e Event) line { return line{in.s.Group, e.Source, e.Subject, e.Generation} }

const byLine = "grp = ? AND source = ? AND subject = ? AND generation = ?"

func (l line) args() []any { return []any{l.group, l.source, l.subject, l.generation} }

// scanLines returns the lines of group whose source, subject and generation rows hold, and closes rows.
func scanLines(rows *sql.Rows, group string) (lines []line, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		l := line{group: group}
		if err := rows.Scan(&l.source, &l.subject, &l.generation); err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, rows.Err()
}

// position is the last number of a line that had its effect, 0 for none, and when that was.
type position struct {
	seq int64
	at  time.Time
}

// lock returns the position of l and locks it, so that the events of a line wait for each other.
func (l line) lock(ctx context.Context, tx *sql.Tx) (p position, err error) {
	p, err = l.locked(ctx, tx)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, `INSERT INTO mq_position (grp, source, subject, generation, seq) VALUES (?, ?, ?, ?, 0)
			ON DUPLICATE KEY UPDATE seq = seq`, l.args()...)
		if err == nil {
			p, err = l.locked(ctx, tx)
		}
	}
	return p, err
}

const lockPosition = "SELECT seq, updated_at FROM mq_position WHERE " + byLine + " FOR UPDATE"

func (l line) locked(ctx context.Context, tx *sql.Tx) (p position, err error) {
	err = tx.QueryRowContext(ctx, lockPosition, l.args()...).Scan(&p.seq, &p.at)
	return p, err
}

// lockAfter does first, a statement without rows, and then lock, mostly in one round trip.
func (l line) lockAfter(ctx context.Context, tx *sql.Tx, first string, args []any) (p position, err error) {
	err = tx.QueryRowContext(ctx, first+";\n"+lockPosition, append(args, l.args()...)...).Scan(&p.seq, &p.at)
	if errors.Is(err, sql.ErrNoRows) {
		return l.lock(ctx, tx)
	}
	return p, err
}

// move sets the position, which must be locked.
func (l line) move(ctx context.Context, tx *sql.Tx, seq int64) error {
	statement, args := l.moving(seq)
	_, err := tx.ExecContext(ctx, statement, args...)
	return err
}

// moving returns the statement of move.
func (l line) moving(seq int64) (statement string, args []any) {
	return "UPDATE mq_position SET seq = ? WHERE " + byLine, append([]any{seq}, l.args()...)
}

// superseded reports whether the line's group has had an event of the same subject from a later generation. Generations sort by time.
func (l line) superseded(ctx context.Context, tx *sql.Tx) (later bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM mq_position WHERE grp = ? AND source = ? AND subject = ? AND generation > ?
		AND seq > 0)`, l.args()...).Scan(&later)
	return later, err
}

// open is a row of the inbox that is WAITING or DEAD.
type open struct {
	id, seq int64
	state   string
	tries   int
}

// front returns the open row of l with the least number after seq, or sql.ErrNoRows. It waits for who works on that row.
func (l line) front(ctx context.Context, tx *sql.Tx, seq int64) (o open, err error) {
	err = tx.QueryRowContext(ctx, `SELECT id, seq, state, tries FROM mq_inbox FORCE INDEX (of_subject) WHERE `+byLine+` AND seq > ?
		AND state IN ('WAITING', 'DEAD') AND type <> '?' ORDER BY seq LIMIT 1 FOR UPDATE`, append(l.args(), seq)...).Scan(
		&o.id, &o.seq, &o.state, &o.tries)
	return o, err
}

const (
	// maxLeap is how many numbers an event may lie ahead of its line's position. No line is that far behind; one number out of nowhere would
	// make all real ones that come after it look old.
	maxLeap = 1_000_000
	// reuseSlack is how far the clocks of a publisher and of a group's database may lie apart.
	reuseSlack = time.Minute
)

// turn returns DONE when it is e's turn, OLD when its turn is over, and WAITING when an earlier event is missing. e is ordered, and p is its
// line's position, which is locked. The error is ErrPoison for a number that cannot be true: one out of nowhere, or one that was used before e
// was made.
func (in *inbox) turn(ctx context.Context, tx *sql.Tx, e Event, p position) (string, error) {
	l := in.line(e)
	switch {
	case e.Sequence-p.seq > maxLeap:
		return "", fmt.Errorf("%w: number %d of its subject comes after %d: no publisher leaps so far", ErrPoison, e.Sequence, p.seq)
	case e.Sequence <= p.seq && e.Time.After(p.at.Add(reuseSlack)):
		return "", fmt.Errorf("%w: number %d of its subject was passed at %s, before this event was made: the publisher's database was restored "+
			"from a backup without beginning a new generation, or the position was moved", ErrPoison, e.Sequence, p.at.Format(time.RFC3339))
	case e.Sequence <= p.seq:
		return stateOld, nil
	case in.s.Order == Strict && e.Sequence > p.seq+1:
		return stateWaiting, nil
	}
	if in.s.Order == Newest {
		later, err := l.superseded(ctx, tx)
		if err != nil || later {
			return stateOld, err
		}
	}
	return stateDone, nil
}
