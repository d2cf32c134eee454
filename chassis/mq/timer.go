package mq

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/database/batch"
)

// Timers call a handler at a later time, in the local transaction that marks the timer as fired. A row decides, so a canceled timer has no
// effect. An event that the broker holds back until the timer is due only makes this service look at the row, to the second. A sweep looks at
// timers that no event woke, and at those that lie further ahead than a transport can wait.
//
//	ARMED --due, handler--> FIRED
//	     \--Cancel--------> CANCELED
//
// A handler that fails is called again, as that of any consumer, and at last the timer is a dead letter of the group <service>-timers. Other
// timers go on.
type Timers struct {
	outbox *Outbox
	topic  string
	handle Handler
	// Tries, FirstPause and LongestPause are those of Subscription. Defaults 16, 100 ms and 1 min. Set them before Run.
	Tries                    int
	FirstPause, LongestPause time.Duration
}

// NewTimers returns timers that are woken through topic, a topic of the service's own. handle is called for each timer that is due, with the
// event that it was armed with. It writes in the tx that it is given, and does nothing else; to publish, it appends to the outbox.
func NewTimers(o *Outbox, topic string, handle Handler) *Timers {
	return &Timers{outbox: o, topic: topic, handle: handle, Tries: 16, FirstPause: 100 * time.Millisecond, LongestPause: time.Minute}
}

const (
	longestWait = MaxAhead - time.Hour // of a wake-up in the transport; clocks differ
	sweepSlack  = 3 * time.Second      // a wake-up may be so late
	sweepEvery  = time.Second
	sweepBatch  = 100
)

// At arms a timer in tx: at when, or at once if that is past, the handler is called with e. Id, source and time of e are filled in where they
// are empty. id names the timer for ever: a second timer with that id fails with a duplicate key. ErrRefused means that id or e is not valid.
func (t *Timers) At(ctx context.Context, tx *sql.Tx, id string, when time.Time, e Event) error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("%w: the timer's id has %d bytes, 1 to 128", ErrRefused, len(id))
	}
	e = t.outbox.bus.complete(ctx, e)
	if err := e.check(); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	when = when.UTC().Truncate(time.Millisecond)
	wake := t.wake(NewID(), id, when, e, text)
	if _, err := tx.ExecContext(ctx, `INSERT INTO mq_timer (id, due_at, event, wake, state) VALUES (?, ?, ?, ?, 'ARMED')`,
		id, when, text, wake.ID); err != nil {
		return err
	}
	if time.Until(when) > longestWait {
		return nil // too far ahead: the sweep wakes it
	}
	return t.outbox.append(ctx, tx, t.topic, wake, stateReady, when)
}

// wake returns the event that makes a process look at the timer id. It carries the event that the timer was armed with.
func (t *Timers) wake(eventID, id string, when time.Time, e Event, text []byte) Event {
	wake := Event{ID: eventID, Source: "/" + t.outbox.bus.service + "/timers", Type: typeWake, Subject: e.Subject, Time: when,
		TraceParent: e.TraceParent, Attributes: map[string]string{"timer": id}, Data: text}
	if !json.Valid(text) {
		wake.ContentType = "application/octet-stream"
	}
	return wake
}

const typeWake = "timer.due"

// Cancel cancels the timer in tx. It returns false when there is no such timer, or it has fired or was canceled already.
func (t *Timers) Cancel(ctx context.Context, tx *sql.Tx, id string) (bool, error) {
	statement := t.Canceling(id)
	res, err := tx.ExecContext(ctx, statement.SQL, statement.Args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Canceling returns the statement that does in a batch what Cancel does in tx.
func (t *Timers) Canceling(id string) batch.Statement {
	return batch.Change(`UPDATE mq_timer FORCE INDEX (PRIMARY) SET state = 'CANCELED', closed_at = NOW(3) WHERE id = ? AND state = 'ARMED'`, id)
}

// Run fires timers until ctx ends; several processes may run it. The outbox's relay must run too.
func (t *Timers) Run(ctx context.Context) error {
	s := Subscription{Group: t.outbox.bus.service + "-timers", Topic: t.topic,
		Tries: t.Tries, FirstPause: t.FirstPause, LongestPause: t.LongestPause, Poll: 200 * time.Millisecond, swept: true}
	in, err := t.outbox.bus.inbox(t.outbox.db, s, t.fire)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { t.sweep(ctx, in) })
	defer wg.Wait()
	return t.outbox.bus.consume(ctx, in)
}

// fire calls the handler of an armed timer that is due, and then marks the timer. The order matters: the handler's rows are locked before the
// timer's, as by a caller that changes the same rows and then cancels. fire returns ErrNotYet when the timer is not due, and nil without an
// effect when it is not armed.
func (t *Timers) fire(ctx context.Context, tx *sql.Tx, wake Event) error {
	id := wake.Attributes["timer"]
	var (
		armed, due bool
		e          Event
	)
	err := tx.QueryRowContext(ctx, `SELECT state = 'ARMED', due_at <= NOW(3) FROM mq_timer WHERE id = ?`, id).Scan(&armed, &due)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && !armed:
		return nil
	case err != nil:
		return err
	case !due:
		return fmt.Errorf("the timer is not due: %w", ErrNotYet)
	}
	if err := json.Unmarshal(wake.Data, &e); err != nil {
		return fmt.Errorf("%w: the timer's event: %w", ErrPoison, err)
	}
	if err := t.handle(ctx, tx, e); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `UPDATE mq_timer FORCE INDEX (PRIMARY) SET state = 'FIRED', closed_at = NOW(3)
		WHERE id = ? AND state = 'ARMED'`, id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return fmt.Errorf("canceled meanwhile: %w", ErrNotYet) // rolls back; the next try finds it canceled
}

// sweep fires what is overdue.
func (t *Timers) sweep(ctx context.Context, in *inbox) {
	for ctx.Err() == nil {
		n, err := t.sweepOnce(ctx, in)
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "sweep timers", "err", err)
		}
		if n < sweepBatch || err != nil {
			backoff.Sleep(ctx, backoff.Pause(1, sweepEvery, sweepEvery))
		}
	}
}

// sweepOnce delivers the wake-ups of overdue timers that have no row in the inbox, as if the broker had: those with a row are tried again there,
// or are dead letters. It returns how many it delivered.
func (t *Timers) sweepOnce(ctx context.Context, in *inbox) (n int, err error) {
	wakes, err := t.overdue(ctx, in.s.Group)
	if err != nil {
		return 0, err
	}
	for _, wake := range wakes {
		if ctx.Err() != nil {
			return n, nil
		}
		if _, err := in.deliver(context.WithoutCancel(ctx), Delivery{Event: wake}); err != nil {
			return n, fmt.Errorf("timer %s: %w", wake.Attributes["timer"], err)
		}
		n++
	}
	return n, nil
}

func (t *Timers) overdue(ctx context.Context, group string) ([]Event, error) {
	rows, err := t.outbox.db.QueryContext(ctx, `SELECT id, due_at, event, wake FROM mq_timer WHERE state = 'ARMED'
		AND due_at <= TIMESTAMPADD(MICROSECOND, ?, NOW(3))
		AND NOT EXISTS (SELECT 1 FROM mq_inbox WHERE event_id = wake AND grp = ?)
		ORDER BY due_at LIMIT ?`, -sweepSlack.Microseconds(), group, sweepBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var wakes []Event
	for rows.Next() {
		var (
			id, wake string
			due      time.Time
			text     []byte
			e        Event
		)
		if err := rows.Scan(&id, &due, &text, &wake); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &e); err != nil {
			e = Event{} // fire fails on it and makes it a dead letter; the other timers go on
		}
		wakes = append(wakes, t.wake(wake, id, due, e, text))
	}
	return wakes, rows.Err()
}
