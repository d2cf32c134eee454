package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mysql"
)

// ErrLate: the broker asked about the local transaction, and was told that it would not come any more. Nothing was done.
var ErrLate = errors.New("the local transaction came too late")

// halves is the part of an outbox that sends transactional messages.
type halves struct {
	mu       sync.Mutex
	producer rocketmq.TransactionProducer
	locals   sync.Map // event id to func() primitive.LocalTransactionState: what the client calls between half and end
	ended    []ended  // not confirmed yet, oldest first
	// resume is when halves are sent again, behind one that the broker did not take: UnixNano, 0 when the last one was taken.
	resume atomic.Int64
}

// open tells whether to send a half now. When a pause is over only the first is told so, and its outcome decides about the others.
func (h *halves) open(pause time.Duration) bool {
	resume, now := h.resume.Load(), time.Now()
	return resume == 0 || now.UnixNano() >= resume && h.resume.CompareAndSwap(resume, now.Add(pause).UnixNano())
}

type ended struct {
	event string
	at    time.Time
}

// PublishInTx makes local's change and publishes e, both or neither: half message, local transaction, end message. The local transaction
// also writes the outbox row by which the broker is answered when it asks back. The event gets a new id, so e has none.
//
// nil says that the local transaction is committed and e will be delivered; an error of local is returned as it is, and e never will
// be. Another error, such as one of the commit, leaves open which; then both happened or neither. When the broker is away, the local
// transaction happens all the same, without a half message, and the relay sends e later.
//
// No order is promised between e and events that go through Append, except by sequence numbers.
func (o *Outbox) PublishInTx(ctx context.Context, topic string, e Event, local func(tx *sql.Tx) error) error {
	if e.ID != "" {
		return fmt.Errorf("%w: the event has the id %s; PublishInTx gives it one for each try", ErrRefused, e.ID)
	}
	for attempt := 1; ; attempt++ {
		e.ID = NewID() // a tombstone of the last attempt must not stop this one
		err := o.publishInTx(ctx, topic, e, local)
		if attempt == 4 || !mysql.Deadlock(err) {
			return err
		}
	}
}

func (o *Outbox) publishInTx(ctx context.Context, topic string, e Event, local func(tx *sql.Tx) error) error {
	if !o.halves.open(o.cfg.HalfPause) {
		return o.local(ctx, topic, e, stateReady, local)
	}
	// The age of the half by the database's clock, which is what a check-back is decided by. And no database, no half.
	var born int64
	if err := o.db.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").Scan(&born); err != nil {
		return err
	}
	var (
		ran      bool
		localErr error
	)
	execute := func() primitive.LocalTransactionState {
		ran = true
		if localErr = failpoint.Hit(ctx, "mq/half"); localErr == nil {
			localErr = o.local(ctx, topic, e, stateHalf, local)
		}
		switch {
		case localErr == nil && failpoint.Hit(ctx, "mq/local") != nil:
			return primitive.UnkonwnState // as if the end message were lost
		case localErr == nil:
			return primitive.CommitMessageState
		case errors.Is(localErr, errCommit):
			return primitive.UnkonwnState // ask the database
		}
		return primitive.RollbackMessageState
	}
	err := o.broker.sending(ctx, topic, e, func(ctx context.Context, m *primitive.Message) error {
		p, err := o.halfProducer()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		m.WithProperty(bornProperty, fmt.Sprint(born))
		o.halves.locals.Store(e.ID, execute)
		defer o.halves.locals.Delete(e.ID)
		ctx, cancel := context.WithTimeout(ctx, o.cfg.HalfTimeout)
		defer cancel()
		result, err := p.SendMessageInTransaction(ctx, m)
		if err != nil {
			return outcome(nil, err)
		}
		return outcome(result.SendResult, nil)
	})
	if errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		o.halves.resume.Store(time.Now().Add(o.cfg.HalfPause).UnixNano())
	} else if ran {
		o.halves.resume.Store(0)
	}
	switch {
	case ran && localErr == nil:
		o.halves.wait(e.ID)
		return nil
	case ran:
		return localErr
	case errors.Is(err, ErrRefused):
		return err
	}
	// The broker is away, or has the half and did not say so in time: then the same event may come both ways, and the inboxes absorb it.
	slog.WarnContext(ctx, "no half message; the relay will send the event", "event", e.ID, "topic", topic, "err", err)
	return o.local(ctx, topic, e, stateReady, local)
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
		return ErrLate
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

// wait remembers that the end message of event has left. It is sent without an answer, so the row stays HALF for now.
func (h *halves) wait(event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = append(h.ended, ended{event, time.Now()})
}

// confirm closes the rows whose end message left half a grace ago, on trust: nothing says that the broker has read it. That is safe while
// anybody of the service lives, because the broker does not forget a half message that it has no end of. It asks back, again and again,
// and is answered from the row, which says commit when it is SENT as when it is HALF, and is kept for days. (TestEndMessageLost.)
// Half a grace is for the case that this process dies: rows that are HALF then are sent once more by the relay of another, and the
// inboxes absorb it. It is also longer than the broker takes to ask for the first time, so that most losses show in that time.
func (o *Outbox) confirm(ctx context.Context) {
	h := &o.halves
	h.mu.Lock()
	n := 0
	for n < len(h.ended) && n < 500 && time.Since(h.ended[n].at) > o.cfg.Grace/2 {
		n++
	}
	due := h.ended[:n:n]
	h.ended = h.ended[n:]
	h.mu.Unlock()
	if n == 0 {
		return
	}
	events := make([]string, n)
	for i, e := range due {
		events[i] = e.event
	}
	in, args := inList(events)
	_, err := o.db.ExecContext(ctx, `UPDATE mq_outbox SET state = 'SENT', closed_at = NOW(3) WHERE event_id IN (`+in+`) AND state = 'HALF'`, args...)
	if err != nil {
		slog.WarnContext(ctx, "confirm transactional messages; the relay will send them again", "rows", n, "err", err)
	}
}
