package mq

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/fourfold/chassis/mq/filter"
)

// Order is what a subscription promises about the events of one source and subject that carry a sequence number.
type Order int

const (
	// Unordered: each event has its effect once, in any order.
	Unordered Order = iota
	// Newest: an event that is older than one that had its effect is dropped. Gaps are not waited for, so this goes with a filter.
	Newest
	// Strict: one after another without gaps. Older ones are dropped, early ones wait. The subscription must see all events of the
	// subject, so it has no filter.
	Strict
)

// Subscription is what a group wants to have delivered. All its instances must say the same.
type Subscription struct {
	// Group names the consumer: each event has its effect once a group.
	Group, Topic string
	// Types are the event types wanted; all when empty.
	Types []string
	// Filter is SQL92 over id, type, source, subject, sequence and the attributes, such as region = 'eu' AND type <> 'x'; all when empty.
	Filter string
	Order  Order
	// Workers is how many handlers run at a time in this process: 16.
	Workers int
	// Timeout bounds one call of the handler: 10 s.
	Timeout time.Duration
	// Tries is how often a handler may fail before the event is dead: as the broker's Config says.
	Tries int
	// FirstPause is before the second try, and doubles up to LongestPause: 1 s, 1 min.
	FirstPause, LongestPause time.Duration
	// Poll is how often waiting events are looked for: 500 ms.
	Poll time.Duration

	parsed *filter.Filter // of Filter, once it is complete
}

var (
	// ErrNotYet is what a handler returns that cannot act yet: it is called again later, for as long as it takes.
	ErrNotYet = errors.New("not yet")
	// ErrPoison is what a handler returns for an event that can never have an effect, such as one that it cannot read: it is a dead letter
	// at once.
	ErrPoison = errors.New("poison message")
)

// Handler makes an event's effect inside tx. It is committed together with the row that says that the event had its effect, or not at
// all. An error, a panic or a time-out rolls back; the event is tried again later.
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
		return fmt.Errorf("mq: group %s: strict order waits for each event of a subject, and a filter keeps some away: filter in the handler, or use Newest",
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

// Wants reports whether the subscription is for e, by its types and its filter: for transports that do not filter themselves.
func (s Subscription) Wants(e Event) (bool, error) {
	if len(s.Types) > 0 && !slices.Contains(s.Types, e.Type) {
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
