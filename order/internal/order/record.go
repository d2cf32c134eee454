package order

import (
	"fmt"
	"strings"
	"time"
)

// Settled reports whether an order in s is paid in all four services and not being refunded: PAID or later.
func (s Status) Settled() bool { return s == Paid || s == Shipped || s == Completed }

// Record is what shop_order holds about one order.
type Record struct {
	ID string
	// Status is empty when rows refer to an order that is not there.
	Status Status
	// GID is the transaction that holds the order or held it last, else empty.
	GID    string
	Points int64
	// Age is the time since the order last changed, by the database's clock, in whole seconds.
	Age      time.Duration
	Lines    []Line
	Attempts []Attempt
	// EventSeq is the number of the order's last event as the order has it; Events and LastEvent are how many the log
	// holds and the highest number among them.
	EventSeq, Events, LastEvent int64
}

// Attempt is one attempt to pay or to refund an order.
type Attempt struct {
	GID   string
	Kind  Kind
	State AttemptState
}

// AttemptsFit reports whether the attempts allow the order's status. They change in the same local transactions as the order, so this holds at
// every moment. An attempt that has not touched the order yet, or never will, may be in any order's list.
func (r Record) AttemptsFit() bool {
	var holder Attempt
	var payments, refunds int
	for _, a := range r.Attempts {
		if a.GID == r.GID {
			holder = a
		}
		switch {
		case a.State != AttemptDone:
		case a.Kind == Payment:
			payments++
		default:
			refunds++
		}
	}
	untouched := r.GID == "" && payments == 0 && refunds == 0
	paid := payments == 1
	switch r.Status {
	case Created:
		return untouched
	case Updating:
		return holder.Kind == Payment && holder.State == AttemptOpen && payments == 0 && refunds == 0
	case Canceled:
		return untouched || holder.Kind == Payment && holder.State == AttemptDone && paid && refunds == 0
	case Paid, Shipped, Completed: // held last by the payment, or by a refund that was undone
		return holder.State == AttemptDone && paid
	case Refunding:
		return holder.Kind == Refund && holder.State == AttemptOpen && paid
	case Refunded:
		return holder.Kind == Refund && holder.State == AttemptDone && paid
	}
	return false
}

// AttemptsText returns a list of the attempts as a text for people.
func (r Record) AttemptsText() string {
	if len(r.Attempts) == 0 {
		return "no attempts"
	}
	texts := make([]string, len(r.Attempts))
	for i, a := range r.Attempts {
		texts[i] = fmt.Sprintf("%s %s %s", a.Kind, a.GID, a.State)
	}
	return strings.Join(texts, ", ")
}

// EventsFit reports whether the order's events are numbered from 1 without gaps. A unique key keeps each number to one event.
func (r Record) EventsFit() bool { return r.Events == r.LastEvent && r.Events == r.EventSeq }
