package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"example.com/fourfold/chassis/mysql"
)

var (
	// ErrNoConsumer: no consumer of that group runs in this process.
	ErrNoConsumer = errors.New("the group is not consumed here")
	// ErrNoHistory: the transport keeps nothing that could be replayed.
	ErrNoHistory = errors.New("the transport keeps no history")
)

// Span is a part of what a topic took, to be offered once more to a group that subscribes to it.
type Span struct {
	Group, Topic string
	From, To     time.Time
	// Position is where an earlier call stopped, empty to begin at From.
	Position string
}

// Replayed says what became of the events that were offered.
type Replayed struct {
	// Offered is how many the group wants. Of these, Effects had their effect now, Waiting wait for their turn or another try,
	// Known had a row already, and Dropped are dead letters or came after a newer one of their subject.
	Offered, Effects, Waiting, Known, Dropped int64
	// Next is the position to go on at, empty at the end.
	Next string
}

// Replay hands up to limit messages to s.Group as if they had just been delivered: what the group had has no second effect, and what
// it missed has its effect now. It returns early when ctx ends, with what was done until then. Events older than the group's closed rows
// are kept must not be replayed: nothing would tell that they had their effect.
//
// ErrNoConsumer, ErrNoHistory, ErrRefused when the topic is not the group's or the position not the topic's, ErrUnavailable, or
// the database's error; Replayed.Next is where to go on in any case.
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
		wanted, err := in.s.Wants(d.Event)
		if d.Broken != nil { // by its tag the broker would keep it from a group that wants some types only
			wanted = len(in.s.Types) == 0 && in.s.Filter == ""
		}
		if err == nil && wanted {
			// What has begun is not cut, as in Consume.
			err = done.count(in.deliver(context.WithoutCancel(ctx), d))
		}
		if err == nil {
			read++
		}
		return err
	})
	done.Next = next
	// Without a position ctx ended before anything was read, and no error would say that all is done.
	if errors.Is(err, errEnough) || ctx.Err() != nil && next != "" {
		err = nil
	}
	return done, err
}

// Groups returns the names of the groups that are consumed in this process, sorted.
func (b *Bus) Groups() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.consumers))
}

// errEnough ends a replay before its end.
var errEnough = errors.New("enough")

// count notes the outcome of one event.
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

// Resent says how far a resend has come.
type Resent struct {
	Events int64
	// Until is the end of the span: the database's time at the first call. To go on, pass it to the next one.
	Until time.Time
	// More reports whether there is more to be sent again.
	More bool
}

// Resend lets the relay send again up to limit events that the transport took since since and until until, in the order in which they
// were appended; of one topic, of all when it is empty. until is now when zero; events that are sent again are of a later time, so repeated calls with
// the first one's Until come to an end. Groups that had an event do nothing the second time.
func (o *Outbox) Resend(ctx context.Context, topic string, since, until time.Time, limit int) (Resent, error) {
	r := Resent{Until: until}
	if limit < 1 {
		return r, fmt.Errorf("%w: at most %d events: none is too few", ErrRefused, limit)
	}
	if until.IsZero() {
		if err := o.db.QueryRowContext(ctx, "SELECT NOW(3)").Scan(&r.Until); err != nil {
			return r, err
		}
	}
	const sent = "state = 'SENT' AND closed_at >= ? AND closed_at <= ? AND (? = '' OR topic = ?)"
	ids, err := mysql.IDs(ctx, o.db, "SELECT id FROM mq_outbox WHERE "+sent+" ORDER BY id LIMIT ?", since, r.Until, topic, topic, limit+1)
	if err != nil {
		return r, err
	}
	r.More = len(ids) > limit
	in, args := mysql.In(ids[:min(limit, len(ids))])
	err = o.InTx(ctx, func(tx *sql.Tx) error {
		// Its time is empty as that of every row that is to be sent: only what is closed may be deleted.
		res, err := tx.ExecContext(ctx, `UPDATE mq_outbox SET state = 'READY', closed_at = NULL, next_at = NOW(3), owner = '', tries = 0
			WHERE id IN (`+in+`) AND `+sent, append(args, since, r.Until, topic, topic)...)
		if err == nil {
			r.Events, err = res.RowsAffected()
		}
		return err
	})
	return r, err
}
