package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/failpoint"
)

// ErrLate means that the broker asked about the local transaction and was told that it would not come any more. Nothing was done. It is a
// context.DeadlineExceeded: the caller may try again.
var ErrLate = fmt.Errorf("the local transaction came too late: %w", context.DeadlineExceeded)

// ErrPublished means that an event with that id was published before. Nothing was done this time.
var ErrPublished = errors.New("the event was published before")

// ended are the events whose end message was sent, oldest first. The broker does not answer it, so their rows stay HALF for now.
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

// PublishInTx makes local's change and publishes e, both or neither: half message, local transaction, end message. The local transaction also
// writes the outbox row that decides the answer when the transport asks back. Id, source and time of e are filled in where they are empty, the
// id anew for each try after a deadlock. It returns ErrPublished when the id is given and known.
//
// nil means that the local transaction is committed and e will be delivered. An error of local is returned as it is, and e will never be
// delivered. Any other error, for example of the commit, leaves open whether both happened or neither. When the broker is away, the local
// transaction happens without a half message, and the relay sends e later.
//
// Only sequence numbers order e and events that go through Append.
func (o *Outbox) PublishInTx(ctx context.Context, topic string, e Event, local func(tx *sql.Tx) error) error {
	for attempt := 1; ; attempt++ {
		// When the caller gave no id, each attempt has its own: a tombstone of the last attempt must not stop this one.
		complete, err := o.complete(ctx, o.db, e)
		if err == nil {
			err = o.publishInTx(ctx, topic, complete, local)
		}
		if attempt == 4 || !database.Deadlock(err) {
			return err
		}
	}
}

func (o *Outbox) publishInTx(ctx context.Context, topic string, e Event, local func(tx *sql.Tx) error) error {
	if o.halves == nil || !o.bus.breaker.admits(topic, o.cfg.HalfPause) {
		return o.local(ctx, topic, e, stateReady, local)
	}
	// A check-back is decided by the half message's age by the database's clock. And without a database there is no half message.
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
	// The broker is away, or has the half message and did not say so in time: then the same event may come both ways, and the inboxes absorb it.
	slog.WarnContext(ctx, "no half message; the relay will send the event", "event", e.ID, "topic", topic, "err", err)
	return o.local(ctx, topic, e, stateReady, local)
}

// taken returns the error that says why there is a row with that id already: ErrLate or ErrPublished.
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

// errCommit marks an error of the commit itself: the transaction may be committed.
var errCommit = errors.New("commit")

// local runs the local transaction once, together with the outbox row.
func (o *Outbox) local(ctx context.Context, topic string, e Event, state string, local func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.LongestTx)
	defer cancel()
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	// The row is first: when a check-back has put a tombstone in its place, nothing is done.
	if err := o.append(ctx, tx, topic, e, state, time.Time{}); database.Duplicate(err) {
		return o.taken(ctx, e.ID)
	} else if err != nil {
		return err
	}
	if err := local(tx); err != nil {
		return database.InTime(ctx, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	return nil
}

// confirm closes the rows whose end message was sent half a grace ago. It does so on trust: nothing says that the broker has read the message.
// That is safe while any instance of the service lives, because the broker does not forget a half message whose end it does not know. It asks
// again and again, and is answered from the row, which says commit both as SENT and as HALF, and is kept for days (TestEndMessageLost). Half a
// grace is for the case that this process dies: rows that are still HALF are sent once more by the relay of another instance, and the inboxes
// absorb it. It is also longer than the broker takes to ask for the first time, so that most losses show within it.
func (o *Outbox) confirm(ctx context.Context) {
	events := o.ended.takeOlder(o.cfg.Grace/2, 500)
	if len(events) == 0 {
		return
	}
	in, args := database.In(events)
	_, err := o.db.ExecContext(ctx,
		`UPDATE mq_outbox FORCE INDEX (event_id) SET state = 'SENT', closed_at = NOW(3) WHERE event_id IN (`+in+`) AND state = 'HALF'`, args...)
	if err != nil {
		slog.WarnContext(ctx, "confirm transactional messages; the relay will send them again", "rows", len(events), "err", err)
	}
}
