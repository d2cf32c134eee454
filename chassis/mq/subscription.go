package mq

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/fourfold/chassis/mq/filter"
)

// Order is what a subscription promises about the events of one source and subject that carry a sequence number.
type Order int

const (
	// Unordered means that each event has its effect once, in any order.
	Unordered Order = iota
	// Newest drops an event that is older than one that had its effect. It does not wait for gaps, so it works with a filter.
	Newest
	// Strict takes events one after another without gaps: older ones are dropped, early ones wait. The subscription must see all events of a
	// subject, so it cannot have a filter.
	Strict
)

// Subscription says what is delivered to a group. All instances of the group must use the same.
type Subscription struct {
	// Group names the consumer: each event has its effect once in each group.
	Group, Topic string
	// Types are the event types wanted, all when empty.
	Types []string
	// Filter is an SQL92 condition on id, type, source, subject, sequence and the attributes, for example region = 'eu' AND type <> 'x'. Empty
	// means all events.
	Filter string
	Order  Order
	// Workers is how many handlers run at a time in this process. Default 16.
	Workers int
	// Timeout bounds one call of the handler. Default 10 s.
	Timeout time.Duration
	// Tries is how often a handler may fail before the event is dead. The default is Config.Tries.
	Tries int
	// FirstPause is the pause before the second try; it doubles up to LongestPause. Defaults 1 s and 1 min.
	FirstPause, LongestPause time.Duration
	// Poll is how often waiting events are looked for. Default 500 ms.
	Poll time.Duration

	parsed *filter.Filter // Filter, set by complete
	swept  bool           // what was not delivered is found in a table, not by an audit
}

var (
	// ErrNotYet is returned by a handler that cannot act yet: it is called again later, for as long as it takes.
	ErrNotYet = errors.New("not yet")
	// ErrPoison is returned by a handler for an event that can never have an effect, for example one that it cannot read. The event becomes a
	// dead letter at once.
	ErrPoison = errors.New("poison message")
)

// Handler makes an event's effect in tx. The effect is committed together with the row that says that the event had it, or not at all. An error,
// a panic or a time-out rolls back; the event is tried again later.
type Handler func(ctx context.Context, tx *sql.Tx, e Event) error

func (s *Subscription) complete(tries int) error {
	if s.Workers <= 0 {
		s.Workers = 16
	}
	if s.Tries <= 0 {
		s.Tries = cmp.Or(tries, 10)
	}
	orElse(&s.Timeout, 10*time.Second)
	orElse(&s.FirstPause, time.Second)
	orElse(&s.LongestPause, time.Minute)
	orElse(&s.Poll, 500*time.Millisecond)
	switch {
	case s.Group == "" || len(s.Group) > maxID || s.Topic == "":
		return fmt.Errorf("mq: group %q, topic %q: both are needed, the group with at most %d bytes", s.Group, s.Topic, maxID)
	case s.Order == Strict && (len(s.Types) > 0 || s.Filter != ""):
		return fmt.Errorf(
			"mq: group %s: strict order waits for each event of a subject, and a filter keeps some away: filter in the handler, or use Newest",
			s.Group)
	}
	if s.Filter != "" {
		f, err := filter.Parse(s.Filter)
		if err != nil {
			return fmt.Errorf("mq: group %s: %w", s.Group, err)
		}
		s.parsed = &f
	}
	for _, t := range s.Types {
		if strings.ContainsAny(t, "| *'") || t == "" {
			return fmt.Errorf("mq: group %s: %q is no event type", s.Group, t)
		}
	}
	return nil
}

// Wants reports whether the subscription's types and filter select e, for transports that do not filter themselves. It fails when the filter is
// not valid.
func (s Subscription) Wants(e Event) (bool, error) {
	if !e.OneOf(s.Types) {
		return false, nil
	}
	if s.Filter == "" {
		return true, nil
	}
	if s.parsed != nil {
		return s.parsed.Matches(e.Properties()), nil
	}
	f, err := filter.Parse(s.Filter)
	if err != nil {
		return false, err
	}
	return f.Matches(e.Properties()), nil
}
