package mq

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
)

// OutboxConfig holds the times of an outbox. Zero values mean the defaults.
type OutboxConfig struct {
	// Poll is how often the relay looks without being told to. Default 500 ms.
	Poll time.Duration
	// Grace is how long a half message may take to be known as delivered before the relay sends its event plainly. It must be longer than the
	// broker takes to ask back. Default 60 s.
	Grace time.Duration
	// LongestTx bounds the local transaction of PublishInTx. About a transaction that is not there after that, the check-back says that it will
	// not come. Default 10 s.
	LongestTx time.Duration
	// HalfTimeout bounds the sending of a half message. After one that the broker did not take, calls do without half messages until there was
	// no failure for HalfPause; then one call tries, and its outcome decides for the others. So a frozen broker delays one call at a time, not
	// each. Defaults 1 s and 5 s.
	HalfTimeout, HalfPause time.Duration
	// CheckTimeout bounds the answer to a check-back; after it the answer is "not known yet". Default 2 s.
	CheckTimeout time.Duration
}

// Outbox writes events in the local transaction that makes them true; its relay sends them.
type Outbox struct {
	db     *sql.DB
	bus    *Bus
	cfg    OutboxConfig
	nudge  chan struct{}
	halves Transactions // nil when the transport has none
	ended  ended
	marks  *batch.Runner[mark]
	// generation is CurrentGeneration, once it has been read.
	generation atomic.Pointer[string]
}

// NewOutbox returns an Outbox whose table mq_outbox is in db, and which sends through b.
func NewOutbox(db *sql.DB, b *Bus, cfg OutboxConfig) *Outbox {
	orElse(&cfg.Poll, 500*time.Millisecond)
	orElse(&cfg.Grace, time.Minute)
	orElse(&cfg.LongestTx, 10*time.Second)
	orElse(&cfg.HalfTimeout, time.Second)
	orElse(&cfg.HalfPause, 5*time.Second)
	orElse(&cfg.CheckTimeout, 2*time.Second)
	o := &Outbox{db: db, bus: b, cfg: cfg, nudge: make(chan struct{}, 1), marks: batch.New(db, markSent)}
	if t, ok := b.transport.(Halves); ok {
		o.halves = t.Transactions(o.answer)
	}
	return o
}

func orElse(d *time.Duration, byDefault time.Duration) {
	if *d <= 0 {
		*d = byDefault
	}
}

// Append writes e in tx. The relay sends it once tx is committed, after all events of its subject that were appended before. Id, source and time
// of e are filled in where they are empty, and it carries ctx's span. ErrRefused means that e could never be sent; roll back then.
func (o *Outbox) Append(ctx context.Context, tx *sql.Tx, topic string, e Event) error {
	e, err := o.complete(ctx, tx, e)
	if err != nil {
		return err
	}
	return o.append(ctx, tx, topic, e, stateReady, time.Time{})
}

// Entry returns the statement that does in a batch what Append does in tx.
func (o *Outbox) Entry(ctx context.Context, topic string, e Event) (batch.Statement, error) {
	e, err := o.complete(context.WithoutCancel(ctx), o.db, e)
	if err != nil {
		return batch.Statement{}, err
	}
	sql, args, err := o.entry(topic, e, stateReady, time.Time{})
	o.soon()
	return batch.Change(sql, args...), err
}

// complete fills in what the publisher left empty. The generation is read from q the first time.
func (o *Outbox) complete(ctx context.Context, q querier, e Event) (Event, error) {
	if e.Sequence > 0 && e.Generation == "" {
		if o.generation.Load() == nil {
			id, err := currentGeneration(ctx, q)
			if err != nil {
				return e, err
			}
			o.generation.Store(&id)
		}
		e.Generation = *o.generation.Load()
	}
	return o.bus.complete(ctx, e), nil
}

const (
	stateReady = "READY"
	stateHalf  = "HALF"
	stateSent  = "SENT"
	stateVoid  = "VOID"
	// stateDropped is that of an event which the broker refused for good and a person discarded.
	stateDropped = "DROPPED"
)

func (o *Outbox) append(ctx context.Context, tx *sql.Tx, topic string, e Event, state string, deliverAt time.Time) error {
	statement, args, err := o.entry(topic, e, state, deliverAt)
	if err == nil {
		_, err = tx.ExecContext(ctx, statement, args...)
	}
	if err == nil {
		o.soon()
	}
	return err
}

// entry returns the INSERT of e's row.
func (o *Outbox) entry(topic string, e Event, state string, deliverAt time.Time) (statement string, args []any, err error) {
	if err := errors.Join(checkTopic(topic), e.check()); err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	wait := time.Duration(0)
	if state == stateHalf {
		wait = o.cfg.Grace
	}
	at := sql.NullTime{Time: deliverAt, Valid: !deliverAt.IsZero()}
	return `INSERT INTO mq_outbox (event_id, topic, subject, type, event, state, deliver_at, next_at, half_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, TIMESTAMPADD(MICROSECOND, ?, NOW(3)), IF(?, NOW(3), NULL))`,
		[]any{e.ID, topic, e.Subject, e.Type, text, state, at, wait.Microseconds(), state == stateHalf}, nil
}

// soon makes this process' relay look at once for what is about to be committed.
func (o *Outbox) soon() {
	select {
	case o.nudge <- struct{}{}:
	default:
	}
}

// row is a row that a relay has leased.
type row struct {
	id        int64
	topic     string
	subject   string
	event     Event
	text      []byte
	state     string
	deliverAt sql.NullTime
	tries     int
	backfill  bool // it was sent another way before
	more      bool // another one of its subject followed when it was leased
}

// lease takes rows that are due, up to limit of each state: of each topic and subject only the first, and none that another relay has leased or
// that pauses. Times are by the database's clock. It does not see rows of open transactions, so it never waits for one.
func (o *Outbox) lease(ctx context.Context, owner string, limit int) ([]row, error) {
	// One SELECT per state, so that each follows the index: at most limit rows are read, besides rows that wait for an earlier one of their
	// subject.
	ids, err := database.IDs(ctx, o.db, `(SELECT o.id FROM mq_outbox o WHERE o.state = 'READY' AND o.next_at <= NOW(3)
			AND (o.subject = '' OR NOT EXISTS (SELECT 1 FROM mq_outbox p
				WHERE p.state = 'READY' AND p.topic = o.topic AND p.subject = o.subject AND p.id < o.id))
			ORDER BY o.next_at, o.id LIMIT ?)
		UNION ALL (SELECT id FROM mq_outbox WHERE state = 'HALF' AND next_at <= NOW(3) ORDER BY next_at, id LIMIT ?)`, limit, limit)
	if err != nil {
		return nil, err
	}
	return o.take(ctx, owner, ids)
}

// leaseNext takes the next row of r's subject, if it is due.
func (o *Outbox) leaseNext(ctx context.Context, owner string, r row) ([]row, error) {
	if r.subject == "" || r.state != stateReady || !r.more {
		return nil, nil
	}
	ids, err := database.IDs(ctx, o.db, `SELECT id FROM mq_outbox WHERE state = 'READY' AND topic = ? AND subject = ? ORDER BY id LIMIT 1`,
		r.topic, r.subject)
	if err != nil {
		return nil, err
	}
	return o.take(ctx, owner, ids)
}

// leaseFor is longer than a send may take.
const leaseFor = 15 * time.Second

// take leases those of ids that no other relay has taken meanwhile.
func (o *Outbox) take(ctx context.Context, owner string, ids []int64) ([]row, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	in, args := database.In(ids)
	res, err := o.db.ExecContext(ctx, `UPDATE mq_outbox FORCE INDEX (PRIMARY)
		SET owner = ?, tries = tries + 1, next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)) WHERE id IN (`+in+`) AND state IN ('READY', 'HALF') AND next_at <= NOW(3)`,
		append([]any{owner, leaseFor.Microseconds()}, args...)...)
	if err != nil {
		return nil, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return nil, err
	}
	rows, err := o.db.QueryContext(ctx, `SELECT id, topic, subject, event, state, deliver_at, tries, backfill,
			EXISTS (SELECT 1 FROM mq_outbox n WHERE n.state = 'READY' AND n.topic = o.topic AND n.subject = o.subject AND n.id > o.id)
		FROM mq_outbox o WHERE id IN (`+in+`) AND owner = ? AND state IN ('READY', 'HALF') AND next_at > NOW(3) ORDER BY id`, append(args, owner)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var taken []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.topic, &r.subject, &r.text, &r.state, &r.deliverAt, &r.tries, &r.backfill, &r.more); err != nil {
			return nil, err
		}
		taken = append(taken, r)
	}
	return taken, rows.Err()
}

// sent records that the broker has a row's event, even after the lease is over, unless another relay has leased the row or it is to be sent
// again: then the broker gets the event twice.
func (o *Outbox) sent(ctx context.Context, owner string, id int64) error {
	return o.marks.Do(ctx, mark{owner, id})
}

// mark is a row that owner has sent.
type mark struct {
	owner string
	id    int64
}

// markSent is the work of sent: the marks of all rows that were sent in the same moment are one statement.
func markSent() batch.Work[mark] {
	return batch.Work[mark]{Write: func(items []*batch.Item[mark]) (writes []batch.Statement, err error) {
		ids := map[string][]int64{}
		for _, i := range items {
			ids[i.Request.owner] = append(ids[i.Request.owner], i.Request.id)
		}
		for owner, of := range ids {
			slices.Sort(of)
			in, args := database.In(of)
			writes = append(writes, batch.Change(`UPDATE mq_outbox FORCE INDEX (PRIMARY) SET state = 'SENT', closed_at = NOW(3), last_error = '',
				refused_at = NULL WHERE id IN (`+in+`) AND owner = ? AND state IN ('READY', 'HALF')`, append(args, owner)...))
		}
		return writes, nil
	}}
}

// postpone ends the lease of r and lets no relay take it for pause.
func (o *Outbox) postpone(ctx context.Context, owner string, r row, pause time.Duration, why error) error {
	_, err := o.db.ExecContext(ctx, `UPDATE mq_outbox FORCE INDEX (PRIMARY) SET next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)), last_error = ?,
		refused_at = IF(?, COALESCE(refused_at, NOW(3)), refused_at) WHERE id = ? AND owner = ? AND state IN ('READY', 'HALF')`,
		pause.Microseconds(), cut(why.Error(), 500), errors.Is(why, ErrRefused), r.id, owner)
	return err
}

// cut returns at most the first n bytes of text, without what is not valid UTF-8: the columns take nothing else.
func cut(text string, n int) string { return strings.ToValidUTF8(text[:min(n, len(text))], "") }

// InTx runs fn in a local transaction of the outbox's database, as database.InTx does, and makes the relay look as soon as it is committed.
func (o *Outbox) InTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	err := database.InTx(ctx, o.db, fn)
	o.soon()
	return err
}
