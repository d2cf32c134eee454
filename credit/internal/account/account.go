// Package account holds the rules of members' points: no I/O.
//
// The books: credit + prepare_deduct_credit = the points added and not deducted, prepare_add_credit = the points prepared,
// none negative.
package account

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrFrozen means that an operator froze the account.
	ErrFrozen = errors.New("the credit account is frozen")
	// ErrNotAdded means that the order has no points that could be taken back.
	ErrNotAdded = errors.New("no points of this order are added")
	// ErrSpent means that the account holds fewer points than are to be taken back.
	ErrSpent = errors.New("the points are spent")
	// ErrFull means that the account would hold more than MaxBalance.
	ErrFull = errors.New("the account is full")
	// ErrInvalid means that a field is not usable; the text says which and what it has to be.
	ErrInvalid = errors.New("invalid")
)

// Account is a member's points.
type Account struct {
	MemberID string
	// Credit can be spent, PrepareAdd not yet, PrepareDeduct no longer.
	Credit, PrepareAdd, PrepareDeduct int64
	// Frozen accounts refuse every new payment. Those already tried go on.
	Frozen bool
}

// Entry holds the points that one member got for one order or for another reason.
type Entry struct {
	// Source is the order's id, registration:<member id>, or what an operator wrote. A source counts once.
	Source    string
	MemberID  string
	Points    int64
	Status    Status
	CreatedAt time.Time
}

const (
	// MaxPoints bounds one entry: above what the largest order brings.
	MaxPoints = 1_000_000_000_000_000
	// MaxBalance bounds all points that an account holds, also those that an open payment or refund moves. What would exceed it is refused
	// before anything is promised, so that Confirm and Cancel never meet an overflow. It keeps every amount exact in JSON.
	MaxBalance = 1<<53 - 1
)

// NewEntry returns an entry without a state yet, or ErrInvalid. Zero points are legal: a small order brings none, and its entry says so.
func NewEntry(source, memberID string, points int64) (Entry, error) {
	if err := CheckID("source", source); err != nil {
		return Entry{}, err
	}
	if err := CheckID("member_id", memberID); err != nil {
		return Entry{}, err
	}
	if points < 0 || points > MaxPoints {
		return Entry{}, fmt.Errorf("%w points %d: from 0 to %d", ErrInvalid, points, int64(MaxPoints))
	}
	return Entry{Source: source, MemberID: memberID, Points: points}, nil
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

// Status is the state of an entry.
type Status string

const (
	// None means that there is no entry.
	None Status = ""
	// Prepared points are promised by an open payment.
	Prepared Status = "PREPARED"
	// Added points are counted in credit.
	Added Status = "ADDED"
	// Canceled points were promised by a payment that was canceled.
	Canceled Status = "CANCELED"
	// Deducting points are being taken back by an open refund.
	Deducting Status = "DEDUCTING"
	// Deducted points were taken back.
	Deducted Status = "DEDUCTED"
)

// Event is something that happens to an entry: a phase of the payment or of the refund, or a gift outside both.
type Event string

// The events.
const (
	Grant         Event = "grant" // added at once
	PrepareAdd    Event = "prepare add"
	ConfirmAdd    Event = "confirm add"
	CancelAdd     Event = "cancel add"
	PrepareDeduct Event = "prepare deduct"
	ConfirmDeduct Event = "confirm deduct"
	CancelDeduct  Event = "cancel deduct"
)

// Transition is the only way an event goes.
type Transition struct{ From, To Status }

// transitions is the state table. The guards in SQL are made from it: an UPDATE that finds no row in From has met an illegal event.
var transitions = map[Event]Transition{
	Grant:         {None, Added},
	PrepareAdd:    {None, Prepared},
	ConfirmAdd:    {Prepared, Added},
	CancelAdd:     {Prepared, Canceled},
	PrepareDeduct: {Added, Deducting},
	ConfirmDeduct: {Deducting, Deducted},
	CancelDeduct:  {Deducting, Added},
}

// Transition returns the row of the state table, for the guard in SQL.
func (e Event) Transition() Transition { return transitions[e] }
