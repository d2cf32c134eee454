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

	"example.com/fourfold/chassis/mysql"
)

// Timers publish events at a later time. A row decides, so a canceled timer has no effect; a message that the broker keeps until then
// only makes this service look at the row, to the second. A sweep looks at what nobody woke, and at what lies beyond the
// three days that the broker can wait.
//
//	ARMED --due--> FIRED    its event is in the outbox
//	     \-Cancel-> CANCELED
type Timers struct {
	outbox *Outbox
	topic  string
}

// NewTimers are woken through topic, which is the service's own.
func NewTimers(o *Outbox, topic string) *Timers { return &Timers{o, topic} }

const (
	brokerWaits = 71 * time.Hour  // an hour less than it can
	sweepSlack  = 3 * time.Second // what is on its way has this long
	sweepEvery  = time.Second
	sweepBatch  = 100
)

// At publishes e to topic at when, at once if that is past, once tx is committed. id names the timer, for ever: a second one of that id
// fails with a duplicate key.
func (t *Timers) At(ctx context.Context, tx *sql.Tx, id string, when time.Time, topic string, e Event) error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("%w: the timer's id has %d bytes, 1 to 128", ErrRefused, len(id))
	}
	if e.TraceParent == "" {
		e.TraceParent = traceParent(ctx)
	}
	if _, err := message(topic, e); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	when = when.UTC().Truncate(time.Millisecond)
	if _, err := tx.ExecContext(ctx, `INSERT INTO mq_timer (id, due_at, topic, event, state) VALUES (?, ?, ?, ?, 'ARMED')`,
		id, when, topic, text); err != nil {
		return err
	}
	if time.Until(when) > brokerWaits {
		return nil // the sweep's
	}
	wake := Event{ID: NewID(), Source: t.source(), Type: "timer.due", Time: when, Attributes: map[string]string{"timer": id}}
	return t.outbox.append(ctx, tx, t.topic, wake, stateReady, when)
}

func (t *Timers) source() string { return "/" + t.outbox.broker.cfg.Service + "/timers" }

// Cancel lets the timer have no effect, once tx is committed. It tells false when there is none, or its event is published already.
func (t *Timers) Cancel(ctx context.Context, tx *sql.Tx, id string) (bool, error) {
	res, err := tx.ExecContext(ctx, `UPDATE mq_timer SET state = 'CANCELED', closed_at = NOW(3) WHERE id = ? AND state = 'ARMED'`, id)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Run is background work that fires timers until ctx ends; several processes may run it. The outbox's relay must run too.
func (t *Timers) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { t.sweep(ctx) })
	defer wg.Wait()
	s := Subscription{Group: t.outbox.broker.cfg.Service + "-timers", Topic: t.topic, Tries: 100,
		FirstPause: 20 * time.Millisecond, LongestPause: 5 * time.Second, Poll: 200 * time.Millisecond}
	return t.outbox.broker.Consume(ctx, t.outbox.db, s, func(ctx context.Context, tx *sql.Tx, e Event) error {
		return t.fire(ctx, tx, e.Attributes["timer"])
	})
}

// fire puts the event of an armed timer that is due into the outbox. One that is not due gives ErrNotYet, one that is not armed nothing.
func (t *Timers) fire(ctx context.Context, tx *sql.Tx, id string) error {
	var (
		topic string
		text  []byte
		due   bool
		e     Event
	)
	err := tx.QueryRowContext(ctx, `SELECT topic, event, due_at <= NOW(3) FROM mq_timer WHERE id = ? AND state = 'ARMED' FOR UPDATE`, id).Scan(
		&topic, &text, &due)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case !due:
		return fmt.Errorf("the timer is not due: %w", ErrNotYet)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if err := t.outbox.Append(ctx, tx, topic, e); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE mq_timer SET state = 'FIRED', closed_at = NOW(3) WHERE id = ?`, id)
	return err
}

// sweep fires what is overdue.
func (t *Timers) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := t.sweepOnce(ctx)
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "sweep timers", "err", err)
		}
		if n < sweepBatch {
			sleep(ctx, grow(1, sweepEvery, sweepEvery))
		}
	}
}

func (t *Timers) sweepOnce(ctx context.Context) (n int, err error) {
	ids, err := func() ([]string, error) {
		rows, err := t.outbox.db.QueryContext(ctx, `SELECT id FROM mq_timer WHERE state = 'ARMED'
			AND due_at <= TIMESTAMPADD(MICROSECOND, ?, NOW(3)) ORDER BY due_at LIMIT ?`, -sweepSlack.Microseconds(), sweepBatch)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		var ids []string
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		return ids, rows.Err()
	}()
	if err != nil {
		return 0, err
	}
	var failed error
	for _, id := range ids {
		// One by one: a timer that cannot be fired holds up no other.
		if err := mysql.InTx(ctx, t.outbox.db, func(tx *sql.Tx) error { return t.fire(ctx, tx, id) }); err != nil {
			failed = fmt.Errorf("timer %s: %w", id, err)
			continue
		}
		n++
	}
	return n, failed
}
