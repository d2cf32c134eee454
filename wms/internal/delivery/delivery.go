// Package delivery holds the rules of delivery slips: no I/O.
package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// ErrClosed means that an operator closed the warehouse.
	ErrClosed = errors.New("the warehouse is closed")
	// ErrNotFound means that there is no such slip, or that it may not be seen yet.
	ErrNotFound = errors.New("no such delivery")
	// ErrInvalid means that a field is not usable; the text says which and what it has to be.
	ErrInvalid = errors.New("invalid")
	// ErrIllegal means that a slip's state does not allow the event. The error is always an IllegalError, which says more.
	ErrIllegal = errors.New("illegal transition")
)

// IllegalError says which state does not allow which event.
type IllegalError struct {
	Status Status
	Event  Event
}

func (e *IllegalError) Error() string {
	return fmt.Sprintf("%s is not possible: the delivery is %s", e.Event, cmp.Or(string(e.Status), "not there"))
}

// Is reports whether target is ErrIllegal.
func (e *IllegalError) Is(target error) bool { return target == ErrIllegal }

// Slip tells the warehouse what to send where, for one order.
type Slip struct {
	ID        string
	OrderID   string
	Status    Status
	Address   string
	Lines     []Line
	CreatedAt time.Time
}

// Line is a quantity of a product, in units.
type Line struct {
	SKU      string
	Quantity int32
}

// maxAddress is in characters. The address may be empty.
const maxAddress = 500

// NewSlip returns a slip without id and state yet, its lines merged by sku and sorted, or ErrInvalid.
func NewSlip(orderID, address string, lines []Line) (Slip, error) {
	if err := CheckID("order_id", orderID); err != nil {
		return Slip{}, err
	}
	if utf8.RuneCountInString(address) > maxAddress {
		return Slip{}, fmt.Errorf("%w address: at most %d characters", ErrInvalid, maxAddress)
	}
	sum := map[string]int64{}
	for _, l := range lines {
		if err := CheckID("sku", l.SKU); err != nil {
			return Slip{}, err
		}
		if l.Quantity <= 0 {
			return Slip{}, fmt.Errorf("%w quantity %d of %s: above 0", ErrInvalid, l.Quantity, l.SKU)
		}
		sum[l.SKU] += int64(l.Quantity)
	}
	if len(sum) == 0 {
		return Slip{}, fmt.Errorf("%w lines: at least one", ErrInvalid)
	}
	merged := make([]Line, 0, len(sum))
	for sku, quantity := range sum {
		if quantity > math.MaxInt32 {
			return Slip{}, fmt.Errorf("%w quantity %d of %s: at most %d", ErrInvalid, quantity, sku, math.MaxInt32)
		}
		merged = append(merged, Line{sku, int32(quantity)})
	}
	slices.SortFunc(merged, func(a, b Line) int { return strings.Compare(a.SKU, b.SKU) })
	return Slip{OrderID: orderID, Address: address, Lines: merged}, nil
}

// CheckID returns ErrInvalid, naming the field, unless id is 1 to 64 printable ASCII characters without blanks: what the columns hold and
// compare byte by byte.
func CheckID(field, id string) error {
	ok := len(id) >= 1 && len(id) <= 64
	for i := range len(id) {
		ok = ok && id[i] > ' ' && id[i] < 0x7f
	}
	if !ok {
		return fmt.Errorf("%w %s %.70q: 1 to 64 ASCII letters, digits and signs, no blanks", ErrInvalid, field, id)
	}
	return nil
}

// Status is the state of a slip.
type Status string

const (
	// None means that the order has no slip.
	None Status = ""
	// Unknown is a slip whose payment is open. The warehouse's staff may not see it.
	Unknown Status = "UNKNOWN"
	// Created is a slip that is paid and to be picked.
	Created Status = "CREATED"
	// Canceled is a slip whose payment was canceled, or whose order was refunded.
	Canceled Status = "CANCELED"
	// Picked is a slip whose goods were taken from the shelves. From here on the order cannot be refunded.
	Picked Status = "PICKED"
	// Shipped is a slip handed to the carrier.
	Shipped Status = "SHIPPED"
	// Delivered is a slip whose goods the shopper has.
	Delivered Status = "DELIVERED"
	// Held is a slip that an open refund holds; it must not be picked.
	Held Status = "HELD"
)

// Event is something that happens to a slip: a phase of the payment or of the refund, or work in the warehouse.
type Event string

// The events.
const (
	Draft       Event = "draft"
	Create      Event = "create"
	Cancel      Event = "cancel"
	Pick        Event = "pick"
	Ship        Event = "ship"
	Deliver     Event = "deliver"
	Hold        Event = "hold"
	ConfirmHold Event = "confirm hold"
	CancelHold  Event = "cancel hold"
)

// Transition is the only way an event goes.
type Transition struct{ From, To Status }

// transitions is the state table: an event that is not in it is illegal.
var transitions = map[Event]Transition{
	Draft:       {None, Unknown},
	Create:      {Unknown, Created},
	Cancel:      {Unknown, Canceled},
	Pick:        {Created, Picked},
	Ship:        {Picked, Shipped},
	Deliver:     {Shipped, Delivered},
	Hold:        {Created, Held},
	ConfirmHold: {Held, Canceled},
	CancelHold:  {Held, Created},
}

// Transition returns the row of the state table, for the guard in SQL.
func (e Event) Transition() Transition { return transitions[e] }

// On returns the state after e, or ErrIllegal.
func (s Status) On(e Event) (Status, error) {
	t, ok := transitions[e]
	if !ok || t.From != s {
		return s, &IllegalError{s, e}
	}
	return t.To, nil
}

// Message is the type of an event that is published.
type Message string

// The messages: types of events, as api/event/v1 has them.
const (
	MessageShipped   Message = "delivery.shipped"
	MessageDelivered Message = "delivery.delivered"
)

// messages are the events that are published.
var messages = map[Event]Message{Ship: MessageShipped, Deliver: MessageDelivered}

// Message returns what is published about e; ok is false when nothing is.
func (e Event) Message() (m Message, ok bool) {
	m, ok = messages[e]
	return m, ok
}
