package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/database"
)

var (
	// ErrNoConsumer means that no consumer of that group runs in this process.
	ErrNoConsumer = errors.New("the group is not consumed here")
	// ErrNoHistory means that the transport keeps nothing that could be replayed.
	ErrNoHistory = errors.New("the transport keeps no history")
)

// Span is a part of a topic's history that is to be offered once more to a group that subscribes to the topic.
type Span struct {
	Group, Topic string
	From, To     time.Time
	// Position is where an earlier call stopped. Empty means to begin at From.
	Position string
}

// Replayed says what became of the events that were offered to a group.
type Replayed struct {
	// Offered is how many events the group wants. Of these, Effects had their effect now, Waiting wait for their turn or another try, Known had
	// a row already, and Dropped are dead letters or came after a newer event of their subject.
	Offered, Effects, Waiting, Known, Dropped int64
	// Next is the position to continue at, empty at the end.
	Next string
}

// Replay hands up to limit messages to s.Group as if they had just been delivered: events that the group had have no second effect, and those it
// missed have their effect now. When ctx ends, it returns early with what was done until then. Events older than the group keeps its closed rows
// must not be replayed: nothing would show that they had their effect.
//
// The error is ErrNoConsumer, ErrNoHistory, ErrRefused when the topic is not the group's or the position not the topic's, ErrUnavailable, or an
// error of the database. Replayed.Next is where to continue in any case.
func (b *Bus) Replay(ctx context.Context, s Span, limit int) (Replayed, error) {
	done := Replayed{Next: s.Position}
	b.mu.Lock()
	in := b.consumers[s.Group]
	b.mu.Unlock()
	history, kept := b.transport.(History)
	switch {
	case limit < 1:
		return done, fmt.Errorf("%w: at most %d messages: none is too few", ErrRefused, limit)
	case in == nil:
		return done, fmt.Errorf("%w: %s", ErrNoConsumer, s.Group)
	case in.s.Topic != s.Topic:
		return done, fmt.Errorf("%w: group %s consumes topic %s, not %s", ErrRefused, s.Group, in.s.Topic, s.Topic)
	case !kept:
		return done, ErrNoHistory
	}
	read := 0
	next, err := history.Replay(ctx, s.Topic, s.From, s.To, s.Position, func(d Delivery) error {
		if read == limit || ctx.Err() != nil {
			return errEnough
		}
		d = b.verified(s.Topic, d)
		if errors.Is(d.Broken, errForged) { // it may have been believed when it came, and had its effect
			read++
			return done.count(outcomeDead, nil)
		}
		wanted, err := in.s.Wants(d.Event)
		if d.Broken != nil { // the broker, which filters by tag, would not deliver it to a group that wants only some types
			wanted = len(in.s.Types) == 0 && in.s.Filter == ""
		}
		if err == nil && wanted {
			// A handler under way is not interrupted, as in Consume.
			err = done.count(in.deliver(context.WithoutCancel(ctx), d))
		}
		if err == nil {
			read++
		}
		return err
	})
	done.Next = next
	switch {
	case err == nil, !errors.Is(err, errEnough) && ctx.Err() == nil:
		return done, err
	case read > 0, next != "" && next != s.Position:
		return done, nil // a part is done, and the next one goes on from there
	}
	// Returning no error would mean that all is done, or let the caller ask for the same again without end.
	return done, errors.Join(fmt.Errorf("%w: nothing was read in the time of a part", ErrUnavailable), err)
}

// Groups returns the names of the groups that are consumed in this process, sorted.
func (b *Bus) Groups() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.consumers))
}

// Consumed is a subscription that is consumed in this process, and since when.
type Consumed struct {
	Subscription
	Since time.Time
}

// Consumed returns the subscriptions that are consumed in this process, by the names of their groups, but for timers: their table tells what was
// not delivered.
func (b *Bus) Consumed() []Consumed {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Consumed
	for _, group := range slices.Sorted(maps.Keys(b.consumers)) {
		if in := b.consumers[group]; !in.s.swept {
			all = append(all, Consumed{in.s, in.since})
		}
	}
	return all
}

// errEnough ends a replay before its end.
var errEnough = errors.New("enough")

// count counts the outcome of one event.
func (r *Replayed) count(outcome string, err error) error {
	if err != nil {
		return err
	}
	r.Offered++
	switch outcome {
	case outcomeDone:
		r.Effects++
	case outcomeDuplicate:
		r.Known++
	case outcomeDead, outcomeOld:
		r.Dropped++
	default:
		r.Waiting++
	}
	return nil
}

// Resent is the result of one part of a resend.
type Resent struct {
	Events int64
	// Until is the end of the span: the database's time at the first call. Pass it to the next call to continue.
	Until time.Time
	// More says that there is more to be sent again.
	More bool
}

// SendAgain makes the relay send again the events of those ids that the transport took at least settled ago, and returns how many there are.
// Groups that had one do nothing the second time.
func (o *Outbox) SendAgain(ctx context.Context, ids []string, settled time.Duration) (n int64, err error) {
	in, args := database.In(ids)
	err = o.InTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, again+"backfill = FALSE WHERE state = 'SENT' AND closed_at <= TIMESTAMPADD(MICROSECOND, -?, NOW(3)) AND event_id IN ("+in+")",
			append([]any{settled.Microseconds()}, args...)...)
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	})
	return n, err
}

// again makes rows READY once more. closed_at is NULL in every row that is to be sent: only closed rows may be deleted.
const again = `UPDATE mq_outbox SET state = 'READY', closed_at = NULL, half_at = NULL, resent_at = NOW(3), next_at = NOW(3), owner = '',
	tries = 0, `

// Resend makes the relay send again up to limit events of topic, or of all topics when it is empty, that the transport took between since and
// until, half messages whose end is not known included, in the order in which they were appended. A zero until means now. Events that are sent
// again get a later time, so repeated calls with the first call's Until come to an end. Groups that had an event do nothing the second time.
func (o *Outbox) Resend(ctx context.Context, topic string, since, until time.Time, limit int) (Resent, error) {
	r, _, err := o.resend(ctx, part{topic: topic, since: since, until: until, limit: limit})
	return r, err
}

// part says what is to be sent again, as the arguments of Resend.
type part struct {
	topic        string
	since, until time.Time
	limit        int
	after        int64 // only rows with a greater id
	backfill     bool  // it is for the broker's history only
}

// resend makes the relay send p again. last is the greatest id of it, p.after when there is none.
func (o *Outbox) resend(ctx context.Context, p part) (r Resent, last int64, err error) {
	r, last = Resent{Until: p.until}, p.after
	if p.limit < 1 {
		return r, last, fmt.Errorf("%w: at most %d events: none is too few", ErrRefused, p.limit)
	}
	if r.Until.IsZero() {
		if err := o.db.QueryRowContext(ctx, "SELECT NOW(3)").Scan(&r.Until); err != nil {
			return r, last, err
		}
	}
	// A half message is closed up to Grace after the transport had it, or not yet: then half_at is when that was.
	const sent = `(state = 'SENT' AND closed_at >= ? AND (closed_at <= ? OR half_at <= ? AND closed_at <= TIMESTAMPADD(MICROSECOND, ?, ?))
		OR state = 'HALF' AND half_at >= ? AND half_at <= ?) AND (? = '' OR topic = ?)`
	span := []any{p.since, r.Until, r.Until, o.cfg.Grace.Microseconds(), r.Until, p.since, r.Until, p.topic, p.topic}
	ids, err := database.IDs(ctx, o.db, "SELECT id FROM mq_outbox WHERE id > ? AND "+sent+" ORDER BY id LIMIT ?",
		append(append([]any{p.after}, span...), p.limit+1)...)
	if err != nil || len(ids) == 0 {
		return r, last, err
	}
	r.More = len(ids) > p.limit
	ids = ids[:min(p.limit, len(ids))]
	last = ids[len(ids)-1]
	in, args := database.In(ids)
	err = o.InTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, again+"backfill = ? WHERE id IN ("+in+") AND "+sent,
			append(append([]any{p.backfill}, args...), span...)...)
		if err == nil {
			r.Events, err = res.RowsAffected()
		}
		return err
	})
	if err != nil {
		return r, p.after, err
	}
	return r, last, nil
}

const (
	// backfillSlack is how much earlier than the change of mode an event may have gone the other way, by the database's clock.
	backfillSlack = 5 * time.Second
	// backfillPart is how many events are sent again at a time, when no more than backfillLeft wait for the relay: a new event waits for no
	// more than both.
	backfillPart, backfillLeft = 100, 20
	// backfillPause is between two looks at how many wait, and backfillLongest how long it is waited for them: those that wait may be unable to
	// go.
	backfillPause, backfillLongest = 20 * time.Millisecond, time.Second
)

// behind reports whether more than backfillLeft events wait for the relay, or are leased by one.
func (o *Outbox) behind(ctx context.Context) (behind bool, err error) {
	err = o.db.QueryRowContext(ctx, `SELECT COUNT(*) > ? FROM (SELECT 1 FROM mq_outbox WHERE state = 'READY'
		AND next_at <= TIMESTAMPADD(MICROSECOND, ?, NOW(3)) AND (next_at <= NOW(3) OR last_error = '') LIMIT ?) waiting`,
		backfillLeft, leaseFor.Microseconds(), backfillLeft+1).Scan(&behind)
	return behind, err
}

// Backfill makes the relay send again all that it sent since then, and offer at once what the transport held for later. It goes on until it has,
// or ctx ends. Groups that had an event do nothing the second time.
func (o *Outbox) Backfill(ctx context.Context, since time.Time) {
	var (
		events int64
		last   = time.Now() // when a part was sent again
	)
	since = since.Add(-backfillSlack)
	if oldest := time.Now().Add(-remembered); since.Before(oldest) {
		since = oldest
	}
	// Each part goes on after the one before, so that none reads again what that has read. What was recorded as sent meanwhile, with an earlier
	// time, is found by one more look from the beginning.
	p := part{since: since, limit: backfillPart, backfill: true}
	for n := 0; ctx.Err() == nil; {
		r := Resent{Until: p.until, More: true}
		behind, err := o.behind(ctx)
		if err == nil && behind && time.Since(last) < backfillLongest {
			backoff.Sleep(ctx, backfillPause) // new events come first
			continue
		}
		if err == nil {
			last = time.Now()
			r, p.after, err = o.resend(ctx, p)
		}
		if err == nil && !r.More && r.Events > 0 {
			r.More, p.after = true, 0
		}
		if err == nil && !r.More {
			err = o.offerHeld(ctx)
		}
		p.until, events = r.Until, events+r.Events
		switch {
		case err != nil:
			n++
			slog.WarnContext(ctx, "what went another way is not sent again yet", "since", since, "err", err)
			backoff.Sleep(ctx, backoff.Pause(n, time.Second, 10*time.Second))
		case !r.More:
			slog.InfoContext(ctx, "what went another way is sent again", "since", since, "events", events)
			return
		}
	}
}
