package mq

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/mysql"
)

// OutboxConfig is how patient an outbox is. Zero values are the defaults.
type OutboxConfig struct {
	// Poll is how often the relay looks without being told to: 500 ms.
	Poll time.Duration
	// Grace is how long a half message may take to be known as delivered before the relay sends its event plainly: 60 s. It must be longer
	// than the broker takes to ask back.
	Grace time.Duration
	// LongestTx bounds the local transaction of PublishInTx: 10 s. Of a transaction that is not there after that, the check-back says
	// that it will not come.
	LongestTx time.Duration
	// HalfTimeout bounds the sending of a half message: 1 s. After one that the broker did not take, the others do without until
	// the relay's sends succeed, or nobody has tried for HalfPause, 5 s: a frozen broker costs one call its time, not each.
	HalfTimeout, HalfPause time.Duration
	// CheckTimeout bounds an answer to a check-back; none means "not known yet": 2 s.
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
}

// NewOutbox is over db, which holds the table mq_outbox.
func NewOutbox(db *sql.DB, b *Bus, cfg OutboxConfig) *Outbox {
	orElse(&cfg.Poll, 500*time.Millisecond)
	orElse(&cfg.Grace, time.Minute)
	orElse(&cfg.LongestTx, 10*time.Second)
	orElse(&cfg.HalfTimeout, time.Second)
	orElse(&cfg.HalfPause, 5*time.Second)
	orElse(&cfg.CheckTimeout, 2*time.Second)
	o := &Outbox{db: db, bus: b, cfg: cfg, nudge: make(chan struct{}, 1)}
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

// Append writes e into tx, to be sent once tx is committed, and after all events of its subject that were appended before. Id, source
// and time of e are filled in where they are empty. ErrRefused says that it could never be sent; roll back then. The caller's span goes with it.
func (o *Outbox) Append(ctx context.Context, tx *sql.Tx, topic string, e Event) error {
	return o.append(ctx, tx, topic, o.bus.complete(ctx, e), stateReady, time.Time{})
}

const (
	stateReady = "READY"
	stateHalf  = "HALF"
	stateSent  = "SENT"
	stateVoid  = "VOID"
)

func (o *Outbox) append(ctx context.Context, tx *sql.Tx, topic string, e Event, state string, deliverAt time.Time) error {
	if err := errors.Join(checkTopic(topic), e.check()); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	wait := time.Duration(0)
	if state == stateHalf {
		wait = o.cfg.Grace
	}
	at := sql.NullTime{Time: deliverAt, Valid: !deliverAt.IsZero()}
	_, err = tx.ExecContext(ctx, `INSERT INTO mq_outbox (event_id, topic, subject, event, state, deliver_at, next_at, half_at)
		VALUES (?, ?, ?, ?, ?, ?, TIMESTAMPADD(MICROSECOND, ?, NOW(3)), IF(?, NOW(3), NULL))`,
		e.ID, topic, e.Subject, text, state, at, wait.Microseconds(), state == stateHalf)
	if err == nil {
		o.soon()
	}
	return err
}

// soon lets this process' relay look at once for what is about to be committed.
func (o *Outbox) soon() {
	select {
	case o.nudge <- struct{}{}:
	default:
	}
}

// row is what a relay has leased.
type row struct {
	id        int64
	topic     string
	subject   string
	event     Event
	text      []byte
	state     string
	deliverAt sql.NullTime
	tries     int
}

// lease takes up to limit rows that are due: of each topic and subject only the first, and none that another lease or a pause keeps.
// Times are by the database's clock. A row of an open transaction is not seen, so nothing is waited for.
func (o *Outbox) lease(ctx context.Context, owner string, limit int) ([]row, error) {
	// Each state for itself, in the order of the index: whatever lies there, no more than limit rows are looked at, but those that wait
	// behind others of their subject.
	ids, err := mysql.IDs(ctx, o.db, `(SELECT o.id FROM mq_outbox o WHERE o.state = 'READY' AND o.next_at <= NOW(3)
			AND (o.subject = '' OR NOT EXISTS (SELECT 1 FROM mq_outbox p
				WHERE p.state = 'READY' AND p.topic = o.topic AND p.subject = o.subject AND p.id < o.id))
			ORDER BY o.next_at, o.id LIMIT ?)
		UNION ALL (SELECT id FROM mq_outbox WHERE state = 'HALF' AND next_at <= NOW(3) ORDER BY next_at, id LIMIT ?)`, limit, limit)
	if err != nil {
		return nil, err
	}
	return o.take(ctx, owner, ids)
}

// leaseNext takes the next row of the subject of r, if it is due.
func (o *Outbox) leaseNext(ctx context.Context, owner string, r row) ([]row, error) {
	if r.subject == "" || r.state != stateReady {
		return nil, nil
	}
	ids, err := mysql.IDs(ctx, o.db, `SELECT id FROM mq_outbox WHERE state = 'READY' AND topic = ? AND subject = ? ORDER BY id LIMIT 1`,
		r.topic, r.subject)
	if err != nil {
		return nil, err
	}
	return o.take(ctx, owner, ids)
}

// leaseFor is longer than a send may take.
const leaseFor = 15 * time.Second

// take leases those of ids that nobody else has taken meanwhile.
func (o *Outbox) take(ctx context.Context, owner string, ids []int64) ([]row, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	in, args := mysql.In(ids)
	res, err := o.db.ExecContext(ctx, `UPDATE mq_outbox SET owner = ?, tries = tries + 1, next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3))
		WHERE id IN (`+in+`) AND state IN ('READY', 'HALF') AND next_at <= NOW(3)`,
		append([]any{owner, leaseFor.Microseconds()}, args...)...)
	if err != nil {
		return nil, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return nil, err
	}
	rows, err := o.db.QueryContext(ctx, `SELECT id, topic, subject, event, state, deliver_at, tries FROM mq_outbox
		WHERE id IN (`+in+`) AND owner = ? AND state IN ('READY', 'HALF') AND next_at > NOW(3) ORDER BY id`, append(args, owner)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var taken []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.topic, &r.subject, &r.text, &r.state, &r.deliverAt, &r.tries); err != nil {
			return nil, err
		}
		taken = append(taken, r)
	}
	return taken, rows.Err()
}

// sent notes that the broker has a row's event, also when the lease is over, unless somebody else leased the row or wants it sent again:
// then the broker has the event twice.
func (o *Outbox) sent(ctx context.Context, owner string, id int64) error {
	_, err := o.db.ExecContext(ctx, `UPDATE mq_outbox SET state = 'SENT', closed_at = NOW(3), last_error = ''
		WHERE id = ? AND owner = ? AND state IN ('READY', 'HALF')`, id, owner)
	return err
}

// postpone ends the lease of r and lets nobody take it for pause.
func (o *Outbox) postpone(ctx context.Context, owner string, r row, pause time.Duration, why error) error {
	text := why.Error()
	_, err := o.db.ExecContext(ctx, `UPDATE mq_outbox SET next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)), last_error = ?
		WHERE id = ? AND owner = ? AND state IN ('READY', 'HALF')`, pause.Microseconds(), cut(text, 500), r.id, owner)
	return err
}

// cut gives at most n bytes of text that are valid UTF-8.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xC0 == 0x80 {
		n--
	}
	return text[:n]
}

// InTx runs fn in a local transaction of the outbox's database, as mysql.InTx does, and lets the relay look as soon as it is committed.
func (o *Outbox) InTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	err := mysql.InTx(ctx, o.db, fn)
	o.soon()
	return err
}
