// Package order holds the rules of an order and of the attempts to pay and refund it: no I/O.
//
//	CREATED --pay--> UPDATING --confirm--> PAID --> SHIPPED --> COMPLETED
//	   |                 \-----cancel----> CANCELED  |
//	   \--close--> CANCELED                          \--> REFUNDING --> REFUNDED, or back to PAID
package order

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var (
	// ErrNotFound means that there is no such order, or that it is another member's.
	ErrNotFound = errors.New("no such order")
	// ErrState means that the order's status does not allow the change.
	ErrState = errors.New("the order's status does not allow this")
	// ErrInvalid means that the lines make no order; the message says which line and why.
	ErrInvalid = errors.New("not an order")
	// ErrTooMany means that the member has as many unpaid orders as a member may have.
	ErrTooMany = errors.New("too many orders are not paid")
	// ErrNotYet means that the event is right, but the order has to change first.
	ErrNotYet = errors.New("the order is not ready for this yet")
)

// Status is where an order stands.
type Status string

const (
	// Created is an order that is written and not paid.
	Created Status = "CREATED"
	// Updating is an order that a payment holds, whose outcome is not known yet.
	Updating Status = "UPDATING"
	// Paid is an order paid in all four services.
	Paid Status = "PAID"
	// Canceled is an order canceled in all four services, or closed before it was paid. The order's Reason says why.
	Canceled Status = "CANCELED"
	// Shipped is an order handed to the carrier.
	Shipped Status = "SHIPPED"
	// Completed is an order delivered.
	Completed Status = "COMPLETED"
	// Refunding is an order that a refund holds, whose outcome is not known yet.
	Refunding Status = "REFUNDING"
	// Refunded is an order refunded in all four services.
	Refunded Status = "REFUNDED"
)

// Event is something that happens to an order.
type Event string

// The events. The first three are the phases of the payment.
const (
	BeginPayment   Event = "begin payment"
	ConfirmPayment Event = "confirm payment"
	CancelPayment  Event = "cancel payment"
	Close          Event = "close"
	Ship           Event = "ship"
	Complete       Event = "complete"
	BeginRefund    Event = "begin refund"
	ConfirmRefund  Event = "confirm refund"
	CancelRefund   Event = "cancel refund"
)

// Transition is the only way an event goes.
type Transition struct{ From, To Status }

// transitions is the state table. The guards in SQL are made from it: an UPDATE that finds no row in From has met an illegal event.
var transitions = map[Event]Transition{
	BeginPayment:   {Created, Updating},
	ConfirmPayment: {Updating, Paid},
	CancelPayment:  {Updating, Canceled},
	Close:          {Created, Canceled},
	Ship:           {Paid, Shipped},
	Complete:       {Shipped, Completed},
	BeginRefund:    {Paid, Refunding},
	ConfirmRefund:  {Refunding, Refunded},
	CancelRefund:   {Refunding, Paid},
}

// Transition returns the row of the state table, for the guard in SQL.
func (e Event) Transition() Transition { return transitions[e] }

// Awaits reports whether an order in status s can follow e later, when the transaction that holds it is settled: the warehouse ships what all
// others have confirmed before order is, and refuses to take back what is picked.
func (s Status) Awaits(e Event) bool { return e == Ship && (s == Updating || s == Refunding) }

// After reports whether an order in status s is past e already. It is for Ship and Complete.
func (s Status) After(e Event) bool {
	return e == Ship && (s == Shipped || s == Completed) || e == Complete && s == Completed
}

// Kind is a transaction over all four services that an order takes part in.
type Kind string

// The kinds.
const (
	Payment Kind = "PAYMENT"
	Refund  Kind = "REFUND"
)

// phases are the events of each kind's Try, Confirm and Cancel.
var phases = map[Kind]struct{ try, confirm, cancel Event }{
	Payment: {BeginPayment, ConfirmPayment, CancelPayment},
	Refund:  {BeginRefund, ConfirmRefund, CancelRefund},
}

// Try returns the transition of the kind's Try.
func (k Kind) Try() Transition { return phases[k].try.Transition() }

// Confirm returns the transition of the kind's Confirm.
func (k Kind) Confirm() Transition { return phases[k].confirm.Transition() }

// Cancel returns the transition of the kind's Cancel.
func (k Kind) Cancel() Transition { return phases[k].cancel.Transition() }

// Reason is why an order is CANCELED, or why a refund was refused or undone.
type Reason string

// The reasons. The first four are refusals of a participant's Try.
const (
	StockNotEnough  Reason = "STOCK_NOT_ENOUGH"
	ProductUnknown  Reason = "PRODUCT_UNKNOWN"
	CreditRefused   Reason = "CREDIT_REFUSED"
	DeliveryRefused Reason = "DELIVERY_REFUSED"
	// PaymentTimeout: a participant did not answer in time, or the initiator died before it could record why.
	PaymentTimeout Reason = "PAYMENT_TIMEOUT"
	// StockNotSold refuses a refund of goods that are not sold; it cancels no order.
	StockNotSold Reason = "STOCK_NOT_SOLD"
	Expired      Reason = "EXPIRED"
	ByMember     Reason = "BY_MEMBER"
)

// Order is one order. Money is in cents.
type Order struct {
	ID, MemberID string
	Status       Status
	Reason       Reason
	// GID is the global transaction that holds the order or held it last, else empty.
	GID        string
	TotalCents int64
	// Points is what paying adds to the member's credit: one for each whole unit of currency.
	Points    int64
	Lines     []Line
	Address   string
	CreatedAt time.Time
	ExpiresAt time.Time
	// PaidAt is zero until the order is paid.
	PaidAt time.Time
	// Version is the number of the order's last event.
	Version int64
}

// Line is a product and its quantity; name and price are as they were when the order was made.
type Line struct {
	SKU, Name  string
	PriceCents int64
	Quantity   int64
}

const (
	// MaxQuantity is the most units of one product in one order.
	MaxQuantity = 100_000
	// MaxTotalCents keeps every amount exact in JSON.
	MaxTotalCents = 1<<53 - 1
)

// Merge adds up the quantities of lines with the same sku and sorts by sku. It returns ErrInvalid for no lines or a quantity that is not within
// 1 to MaxQuantity.
func Merge(lines []Line) ([]Line, error) {
	if len(lines) == 0 {
		return nil, fmt.Errorf("%w: lines: at least one is needed", ErrInvalid)
	}
	sorted := slices.Clone(lines)
	slices.SortStableFunc(sorted, func(a, b Line) int { return strings.Compare(a.SKU, b.SKU) })
	merged := sorted[:0]
	for _, l := range sorted {
		if l.SKU == "" || l.Quantity < 1 || l.Quantity > MaxQuantity {
			return nil, fmt.Errorf("%w: lines: %q has quantity %d, allowed are 1 to %d", ErrInvalid, l.SKU, l.Quantity, MaxQuantity)
		}
		n := len(merged)
		if n == 0 || merged[n-1].SKU != l.SKU {
			merged = append(merged, l)
			continue
		}
		if merged[n-1].Quantity += l.Quantity; merged[n-1].Quantity > MaxQuantity {
			return nil, fmt.Errorf("%w: lines: %q has more than %d units in all", ErrInvalid, l.SKU, MaxQuantity)
		}
	}
	return merged, nil
}

// New makes an order from lines that are merged and priced. It returns ErrInvalid when the total exceeds MaxTotalCents.
func New(id, memberID, address string, lines []Line) (Order, error) {
	var total int64
	for _, l := range lines {
		if l.PriceCents < 1 || l.PriceCents > (MaxTotalCents-total)/l.Quantity {
			return Order{}, fmt.Errorf("%w: lines: the total is too large", ErrInvalid)
		}
		total += l.PriceCents * l.Quantity
	}
	return Order{
		ID: id, MemberID: memberID, Status: Created, TotalCents: total, Points: total / 100, Lines: lines, Address: address,
	}, nil
}

// AttemptState is where an attempt to pay or refund stands.
type AttemptState string

const (
	// AttemptOpen: its global transaction may still change the order.
	AttemptOpen AttemptState = "OPEN"
	// AttemptDone: the order's row says how it ended.
	AttemptDone AttemptState = "DONE"
	// AttemptAbandoned: it never touched the order and never will.
	AttemptAbandoned AttemptState = "ABANDONED"
)
