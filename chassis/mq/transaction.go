package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mysql"
)

// ErrLate: the broker asked about the local transaction, and was told that it would not come any more. Nothing was done.
var ErrLate = errors.New("the local transaction came too late")

// ErrPublished: an event of that id was published before. Nothing was done this time.
var ErrPublished = errors.New("the event was published before")

// ended are the events whose end message has left, oldest first. It is sent without an answer, so their rows stay HALF for now.
type ended struct {
	mu     sync.Mutex
	events []endedEvent
}

type endedEvent struct {
	id string
	at time.Time
}

func (e *ended) add(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, endedEvent{id, time.Now()})
}

// takeOlder removes up to limit events that have waited longer than age, and returns their ids.
func (e *ended) takeOlder(age time.Duration, limit int) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for len(ids) < min(limit, len(e.events)) && time.Since(e.events[len(ids)].at) > age {
		ids = append(ids, e.events[len(ids)].id)
	}
	e.events = e.events[len(ids):]
	return ids
}

// PublishInTx makes local's change and publishes e, both or neither: half message, local transaction, end message. The local transaction
// also writes the outbox row by which the transport is answered when it asks back. Id, source and time of e are filled in where they
// are empty, the id anew for each try after a deadlock. ErrPublished when the id is given and known.
//
// nil says that the local transaction is committed and e will be delivered; an error of local is returned as it is, and e never will
// be. Another error, such as one of the commit, leaves open which; then both happened or neither. When the broker is away, the local
// transaction happens all the same, without a half message, and the relay sends e later.
//
// No order is promised between e and events that go through Append, except by sequence numbers.
func (o *Outbox) PublishInTx(ctx context.Context, topic string, e Event, local func(tx *sql.Tx) error) error {
	for attempt := 1; ; attempt++ {
		// Without an id of the caller's each attempt has its own: a tombstone of the last one must not stop this one.
		err := o.publishInTx(ctx, topic, o.bus.complete(ctx, e), local)
		if attempt == 4 || !mysql.Deadlock(err) {
			return err
		}
	}
}

func (o *Outbox) publishInTx(ctx context.Context, topic string, e Event, local func(tx *sql.Tx) error) error {
	if o.halves == nil || !o.bus.breaker.admits(topic, o.cfg.HalfPause) {
		return o.local(ctx, topic, e, stateReady, local)
	}
	// The age of the half by the database's clock, which is what a check-back is decided by. And no database, no half.
	var born int64
	if err := o.db.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").Scan(&born); err != nil {
		return err
	}
	const half = true
	var (
		ran      bool
		localErr error
	)
	execute := func() Verdict {
		ran = true
		o.bus.breaker.told(topic, half, nil)
		if localErr = failpoint.Hit(ctx, "mq/half"); localErr == nil {
			localErr = o.local(ctx, topic, e, stateHalf, local)
		}
		switch {
		case localErr == nil && failpoint.Hit(ctx, "mq/local") != nil:
			return Unknown // as if the end message were lost
		case localErr == nil:
			return Commit
		case errors.Is(localErr, errCommit):
			return Unknown // ask the database
		}
		return Rollback
	}
	err := o.bus.sending(ctx, topic, e, func(ctx context.Context, e Event) error {
		ctx, cancel := context.WithTimeout(ctx, o.cfg.HalfTimeout)
		defer cancel()
		return o.halves.Half(ctx, topic, e, time.UnixMilli(born), execute)
	})
	switch {
	case ran && localErr == nil:
		o.ended.add(e.ID)
		return nil
	case ran:
		return localErr
	case errors.Is(err, ErrRefused):
		return err
	}
	if ctx.Err() == nil {
		o.bus.breaker.told(topic, half, err)
	}
	// The broker is away, or has the half and did not say so in time: then the same event may come both ways, and the inboxes absorb it.
	slog.WarnContext(ctx, "no half message; the relay will send the event", "event", e.ID, "topic", topic, "err", err)
	return o.local(ctx, topic, e, stateReady, local)
}

// taken says why there is a row of that id already.
func (o *Outbox) taken(ctx context.Context, id string) error {
	state, err := o.stateOf(ctx, id)
	switch {
	case err != nil:
		return err
	case state == stateVoid:
		return ErrLate
	}
	return fmt.Errorf("%w: %s", ErrPublished, id)
}

// errCommit marks an error of the commit itself: the transaction may have happened.
var errCommit = errors.New("commit")

// local runs the local transaction once, with the outbox row.
func (o *Outbox) local(ctx context.Context, topic string, e Event, state string, local func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.LongestTx)
	defer cancel()
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	// The row first: when a check-back has put a tombstone in its place, nothing is done.
	if err := o.append(ctx, tx, topic, e, state, time.Time{}); mysql.Duplicate(err) {
		return o.taken(ctx, e.ID)
	} else if err != nil {
		return err
	}
	if err := local(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	return nil
}

// confirm closes the rows whose end message left half a grace ago, on trust: nothing says that the broker has read it. That is safe while
// anybody of the service lives, because the broker does not forget a half message that it has no end of. It asks back, again and again,
// and is answered from the row, which says commit when it is SENT as when it is HALF, and is kept for days. (TestEndMessageLost.)
// Half a grace is for the case that this process dies: rows that are HALF then are sent once more by the relay of another, and the
// inboxes absorb it. It is also longer than the broker takes to ask for the first time, so that most losses show in that time.
func (o *Outbox) confirm(ctx context.Context) {
	events := o.ended.takeOlder(o.cfg.Grace/2, 500)
	if len(events) == 0 {
		return
	}
	in, args := mysql.In(events)
	_, err := o.db.ExecContext(ctx, `UPDATE mq_outbox SET state = 'SENT', closed_at = NOW(3) WHERE event_id IN (`+in+`) AND state = 'HALF'`, args...)
	if err != nil {
		slog.WarnContext(ctx, "confirm transactional messages; the relay will send them again", "rows", len(events), "err", err)
	}
}
