package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/fourfold/chassis/backoff"
)

// Mode says which way events go.
type Mode string

const (
	// Normal means that events go by the broker.
	Normal Mode = "NORMAL"
	// Degraded means that the broker is away, and events go by Redis.
	Degraded Mode = "DEGRADED"
	// Draining means that the broker is back, and events go by Redis until the queues are all but empty.
	Draining Mode = "DRAINING"
	// Handover means that nothing is sent, for a moment, until the queues are empty.
	Handover Mode = "HANDOVER"
)

// Force is what an operator wants the mode to be.
type Force string

const (
	// Automatic leaves it to the services.
	Automatic Force = ""
	// Held keeps events away from the broker.
	Held Force = "DEGRADED"
	// Pinned keeps events away from Redis.
	Pinned Force = "NORMAL"
)

// State is what the switch says.
type State struct {
	// Epoch grows with each change of mode. 0 means that there is no switch yet.
	Epoch int64
	Mode  Mode
	// Since is when the mode was entered.
	Since time.Time
	// Why and By say who changed it, and for what reason.
	Why, By string
	// Opener is the instance whose sends failed, and for how long it still has a say: until Lease only it may return.
	Opener string
	Lease  time.Time
	// Topic is one that the opener sends to: probes go there.
	Topic string
	Force Force
	// Opened are the last times at which the broker was found to be away, oldest first.
	Opened []time.Time
	// Left is when the mode was last NORMAL before Since, zero when it was always.
	Left time.Time
	// Store names what Redis holds: another one after it was emptied.
	Store string
	// Now is Redis' time.
	Now time.Time
}

// openedKept is how many times State.Opened holds.
const openedKept = 10

// Look returns the switch, with Epoch 0 when there is none. Any error is an mq.ErrUnavailable.
func (q *Queues) Look(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	pipe := q.rdb.Pipeline()
	now, all := pipe.Time(ctx), pipe.HGetAll(ctx, q.key("switch"))
	if _, err := pipe.Exec(ctx); err != nil {
		return State{}, errAway(err)
	}
	f := all.Val()
	epoch, _ := strconv.ParseInt(f["epoch"], 10, 64)
	s := State{Epoch: epoch, Mode: Mode(f["mode"]), Since: millis(f["since"]), Why: f["why"], By: f["by"], Opener: f["opener"],
		Lease: millis(f["lease"]), Topic: f["topic"], Force: Force(f["force"]), Left: millis(f["left"]), Store: f["store"], Now: now.Val()}
	for one := range strings.FieldsSeq(f["opened"]) {
		s.Opened = append(s.Opened, millis(one))
	}
	if epoch == 0 {
		s.Mode = Normal
	}
	return s, nil
}

func openedText(opened []time.Time) string {
	texts := make([]string, len(opened))
	for i, at := range opened {
		texts[i] = strconv.FormatInt(at.UnixMilli(), 10)
	}
	return strings.Join(texts, " ")
}

func millis(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// Change is what to make of a State.
type Change struct {
	// By is the instance that wants it.
	By string
	// To is the mode, as it is when empty: then the epoch stays.
	To  Mode
	Why string
	// Leased means that while the opener's lease runs only the opener may do it.
	Leased bool
	// Lease makes By the opener, for so long.
	Lease time.Duration
	// Topic, Force and Store are set when they are not nil.
	Topic, Store *string
	Force        *Force
	// Opened adds to State.Opened.
	Opened bool
}

// Change makes c of s. It reports false when the switch is not as s says any more, or somebody else has a say.
func (q *Queues) Change(ctx context.Context, s State, c Change) (bool, error) {
	lease, line, keep := "", "", "1"
	if c.Lease > 0 {
		lease = strconv.FormatInt(c.Lease.Milliseconds(), 10)
	}
	var fields []any
	if c.To != "" {
		from := s.Mode
		if from == Handover {
			from = Draining // the try to end it is part of it
		}
		if keep = "0"; c.To != Handover && (s.Mode != Handover || c.To != Draining) {
			line = fmt.Sprintf("%s -> %s by %s: %s", from, c.To, c.By, c.Why)
		}
		fields = append(fields, "mode", string(c.To), "why", c.Why, "by", c.By)
		if s.Mode == Normal && c.To != Normal {
			fields = append(fields, "left", s.Now.UnixMilli())
		}
	}
	if c.Topic != nil {
		fields = append(fields, "topic", *c.Topic)
	}
	if c.Store != nil {
		fields = append(fields, "store", *c.Store)
	}
	if c.Force != nil {
		fields = append(fields, "force", string(*c.Force))
		if line == "" {
			line = fmt.Sprintf("%s forced %q by %s: %s", s.Mode, *c.Force, c.By, c.Why)
		}
	}
	if c.Opened {
		opened := slices.Concat(s.Opened, []time.Time{s.Now})
		fields = append(fields, "opened", openedText(opened[max(0, len(opened)-openedKept):]))
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	args := append([]any{s.Epoch, c.By, c.Leased, keep, lease, q.key("switched"), line}, fields...)
	n, err := changeScript.Run(ctx, q.rdb, []string{q.key("switch"), q.key("history")}, args...).Int()
	return n == 1, errAway(err)
}

// Create makes the switch again when Redis has none: in the state s, as a new store.
func (q *Queues) Create(ctx context.Context, s State, store string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	created := false
	err := q.rdb.Watch(ctx, func(tx *goredis.Tx) error {
		n, err := tx.Exists(ctx, q.key("switch")).Result()
		if err != nil || n > 0 {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p goredis.Pipeliner) error {
			since := s.Since
			if since.IsZero() {
				since = time.Now()
			}
			p.HSet(ctx, q.key("switch"), "epoch", s.Epoch+1, "mode", string(s.Mode), "since", since.UnixMilli(), "why", s.Why, "by", s.By,
				"opener", s.Opener, "lease", max(s.Lease.UnixMilli(), 0), "topic", s.Topic, "force", string(s.Force), "opened", openedText(s.Opened),
				"left", max(s.Left.UnixMilli(), 0), "store", store)
			p.Publish(ctx, q.key("switched"), s.Epoch+1)
			return nil
		})
		created = err == nil
		return err
	}, q.key("switch"))
	if errors.Is(err, goredis.TxFailedErr) {
		return false, nil // somebody else was quicker
	}
	return created, errAway(err)
}

// History returns the last changes of the switch, newest first: a line each, which begins with the time in milliseconds.
func (q *Queues) History(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	lines, err := q.rdb.LRange(ctx, q.key("history"), 0, -1).Result()
	return lines, errAway(err)
}

// Watch calls look whenever the switch was moved, until ctx ends, and at least every poll.
func (q *Queues) Watch(ctx context.Context, poll time.Duration, look func()) {
	moved := q.rdb.Subscribe(ctx, q.key("switched"))
	defer func() { _ = moved.Close() }()
	for ch := moved.Channel(); ctx.Err() == nil; {
		look()
		select {
		case <-ctx.Done():
		case _, open := <-ch:
			if !open {
				backoff.Sleep(ctx, poll)
			}
		case <-time.After(poll):
		}
	}
}
