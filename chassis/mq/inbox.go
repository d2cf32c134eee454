package mq

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/failpoint"
)

// inbox is one group's part of the table mq_inbox.
type inbox struct {
	db     *sql.DB
	s      Subscription
	handle Handler
	meter  *meter
	woken  chan struct{}
	since  time.Time // when it began to consume
	// undisturbed is the Bus's.
	undisturbed func() time.Duration
}

const (
	stateDone    = "DONE"
	stateOld     = "OLD"
	stateWaiting = "WAITING"
	stateDead    = "DEAD"

	retryBatch = 64
)

// errSeen means that the event has a row already, errTaken that another process works on the row or has done so.
var (
	errSeen  = errors.New("seen before")
	errTaken = errors.New("taken")
)

// The possible outcomes of working on an event once.
const (
	outcomeDone      = "done"      // it had its effect
	outcomeOld       = "old"       // a newer event of its subject had its effect before
	outcomeEarly     = "early"     // it waits for an earlier event of its subject
	outcomeNotYet    = "not_yet"   // its handler cannot act yet
	outcomeFailed    = "failed"    // it will be tried again
	outcomeDead      = "dead"      // it was given up
	outcomeDuplicate = "duplicate" // it has a row, or another process works on it
	outcomeError     = "error"     // the database did not say
)

// deliver works on what the transport delivered. When err is nil, there is a committed row, and outcome says what became of the event.
func (in *inbox) deliver(ctx context.Context, d Delivery) (outcome string, err error) {
	if d.Broken != nil {
		return outcomeDead, in.bury(ctx, d)
	}
	e, state := d.Event, stateDone
	ctx, span := in.span(ctx, e)
	defer span.End()
	start := time.Now()
	err = in.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		state = stateDone
		const row = `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, generation, seq, state, closed_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'DONE', NOW(3))`
		args := []any{in.s.Group, e.Source, e.ID, in.s.Topic, e.Type, e.Subject, e.Generation, e.Sequence}
		var err error
		if in.ordered(e) {
			var p position
			if p, err = in.line(e).lockAfter(ctx, tx, row, args); err == nil {
				state, err = in.turn(ctx, tx, e, p)
			}
		} else {
			_, err = tx.ExecContext(ctx, row, args...)
		}
		if database.Duplicate(err) {
			return errSeen
		}
		if err != nil {
			return err
		}
		switch state {
		case stateOld:
			_, err = tx.ExecContext(ctx, `UPDATE mq_inbox SET state = 'OLD' WHERE `+byEvent, in.s.Group, e.Source, e.ID)
		case stateWaiting:
			err = in.hold(ctx, tx, e)
		default:
			closes := ""
			if in.ordered(e) {
				// The row was written before the wait for earlier events: without this it would look as if it had been handled before them.
				closes = "UPDATE mq_inbox SET closed_at = NOW(3) WHERE " + byEvent
			}
			err = in.effect(ctx, tx, e, closes, in.s.Group, e.Source, e.ID)
		}
		return err
	})
	if errors.Is(err, errSeen) {
		if err := in.keep(ctx, e); err != nil {
			in.ended(ctx, span, start, outcomeError, err)
			return outcomeError, err
		}
	}
	return in.settle(ctx, span, start, e, state, err)
}

// keep extends the life of the closed row of e as if it had been closed now: an event that was sent again may be delivered again for as long as
// a new one. Repetitions within an hour cost no write.
func (in *inbox) keep(ctx context.Context, e Event) error {
	_, err := in.db.ExecContext(ctx, `UPDATE mq_inbox FORCE INDEX (event) SET closed_at = NOW(3) WHERE `+byEvent+` AND closed_at < NOW(3) - INTERVAL 1 HOUR`,
		in.s.Group, e.Source, e.ID)
	return err
}

const byEvent = "grp = ? AND source = ? AND event_id = ?"

// settle does what follows the transaction of e: it wakes the next event of the subject when err is nil, and else records the failure.
func (in *inbox) settle(ctx context.Context, span trace.Span, start time.Time, e Event, state string, err error) (outcome string, failed error) {
	switch {
	case err == nil:
		outcome = map[string]string{stateDone: outcomeDone, stateOld: outcomeOld, stateWaiting: outcomeEarly}[state]
		in.ended(ctx, span, start, outcome, nil)
		if state == stateDone {
			if err := failpoint.Hit(ctx, "consume/"+in.s.Group+"/committed"); err != nil {
				return outcome, err
			}
			in.wakeNext(ctx, e)
		}
		return outcome, nil
	case errors.Is(err, errSeen), errors.Is(err, errTaken):
		in.ended(ctx, span, start, outcomeDuplicate, nil)
		return outcomeDuplicate, nil
	}
	outcome, failed = in.fail(ctx, e, err)
	in.ended(ctx, span, start, outcome, err)
	return outcome, failed
}

// inTx runs fn in a transaction, within the time that a handler has. The victim of a deadlock is run again.
func (in *inbox) inTx(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, in.s.Timeout)
	defer cancel()
	return database.InTx(ctx, in.db, func(tx *sql.Tx) error { return fn(ctx, tx) })
}

// ordered reports whether e must wait for its turn: the group is ordered, and e has a number.
func (in *inbox) ordered(e Event) bool { return in.s.Order != Unordered && e.Sequence > 0 }

// effect calls the handler, moves the subject's position and does closes, a statement about e's row, if there is one; the last two in one round
// trip.
func (in *inbox) effect(ctx context.Context, tx *sql.Tx, e Event, closes string, args ...any) error {
	if err := in.call(ctx, tx, e); err != nil {
		return err
	}
	if in.ordered(e) {
		move, of := in.line(e).moving(e.Sequence)
		closes, args = move+";\n"+closes, append(of, args...)
	}
	if closes == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, closes, args...)
	return err
}

const (
	// earlyPause is when an early event is looked at again by itself, twice as late each time up to longestEarly: usually its predecessor wakes
	// it, unless the process died in between.
	earlyPause   = 2 * time.Second
	longestEarly = 20 * time.Second
	// longestGap is how long an early event waits for the events before it until it becomes a dead letter, so that people are told; after a
	// redrive it waits as long again, and while the broker is away, and for as long after that, since what is missing may lie there. It still
	// goes on by itself when they come after all.
	longestGap = time.Hour
)

// hold makes an early event wait in its row, or makes it a dead letter after longestGap.
func (in *inbox) hold(ctx context.Context, tx *sql.Tx, e Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE mq_inbox SET
		state = IF(? AND GREATEST(created_at, COALESCE(redriven_at, created_at)) < TIMESTAMPADD(MICROSECOND, -?, NOW(3)), 'DEAD', 'WAITING'),
		event = ?, closed_at = NULL, waits = waits + 1,
		next_at = TIMESTAMPADD(MICROSECOND, LEAST(? << LEAST(waits - 1, 5), ?), NOW(3)), last_error = ?
		WHERE `+byEvent, in.undisturbed() > longestGap, longestGap.Microseconds(), text, earlyPause.Microseconds(), longestEarly.Microseconds(),
		fmt.Sprintf("number %d of its subject came before what is in front of it", e.Sequence), in.s.Group, e.Source, e.ID)
	return err
}

// bury stores a message that is not an event of a service as a dead letter, under an id of its own.
func (in *inbox) bury(ctx context.Context, d Delivery) error {
	sum, why := sha256.Sum256(d.Body), "not an event: "+d.Broken.Error()
	if errors.Is(d.Broken, errForged) { // one letter for each event, however often it is sent; it does not take the event's own place
		sum, why = sha256.Sum256([]byte(d.Event.Source+"\x00"+d.Event.ID)), d.Broken.Error()
	}
	_, err := in.db.ExecContext(ctx, `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, event, last_error)
		VALUES (?, '?', ?, ?, '?', '', 0, 'DEAD', ?, ?) ON DUPLICATE KEY UPDATE id = id`,
		in.s.Group, hex.EncodeToString(sum[:]), in.s.Topic, d.Body, cut(why, 2000))
	if err == nil {
		slog.ErrorContext(ctx, "a message is no event", "group", in.s.Group, "message", d.ID, "err", d.Broken)
	}
	return err
}
