// Package stock holds the rules of products and stock: no I/O.
//
// Every unit received is in exactly one place: sellable + frozen + sold = received, none negative.
package stock

import (
	"errors"
	"slices"
	"strings"
)

var (
	// ErrNotEnough means that fewer units are sellable than asked for.
	ErrNotEnough = errors.New("not enough in stock")
	// ErrUnknown means that no product has this sku.
	ErrUnknown = errors.New("no such product")
	// ErrExists means that the sku is taken.
	ErrExists = errors.New("the sku is taken")
	// ErrNotSold means that the order has taken nothing that could come back.
	ErrNotSold = errors.New("nothing of this order is sold")
	// ErrLines means that the lines of a freeze are not usable.
	ErrLines = errors.New("a freeze needs lines, each with a sku and a quantity above 0")
)

// Product is a product of the catalogue. PriceCents is the price of one unit.
type Product struct {
	SKU        string
	Name       string
	PriceCents int64
	Sellable   int64
}

// Level is a product's stock, in units.
type Level struct {
	SKU                              string
	Sellable, Frozen, Sold, Received int64
}

// Line is a quantity of a product.
type Line struct {
	SKU      string
	Quantity int64
}

// Sorted merges lines of the same sku and sorts them by sku: the order in which stock rows are locked, the same for every
// order, so that two orders never wait for each other in a circle. It fails with ErrLines.
func Sorted(lines []Line) ([]Line, error) {
	out := slices.Clone(lines)
	slices.SortFunc(out, func(a, b Line) int { return strings.Compare(a.SKU, b.SKU) })
	merged := out[:0]
	for _, l := range out {
		if l.SKU == "" || l.Quantity <= 0 {
			return nil, ErrLines
		}
		if n := len(merged); n > 0 && merged[n-1].SKU == l.SKU {
			merged[n-1].Quantity += l.Quantity
			continue
		}
		merged = append(merged, l)
	}
	if len(merged) == 0 {
		return nil, ErrLines
	}
	return merged, nil
}

// FreezeStatus is the state of what one order holds of one product.
type FreezeStatus string

const (
	// None means that the order holds nothing.
	None FreezeStatus = ""
	// Frozen units are set aside by an open payment.
	Frozen FreezeStatus = "FROZEN"
	// Deducted units are sold by a payment that was confirmed.
	Deducted FreezeStatus = "DEDUCTED"
	// Released units were put back by a payment that was canceled.
	Released FreezeStatus = "RELEASED"
	// Returning units are held by an open refund.
	Returning FreezeStatus = "RETURNING"
	// Returned units are back on the shelf.
	Returned FreezeStatus = "RETURNED"
)

// Event is something that happens to a freeze: a phase of the payment or of the refund.
type Event string

// The events.
const (
	Freeze        Event = "freeze"
	Deduct        Event = "deduct"
	Release       Event = "release"
	Return        Event = "return"
	ConfirmReturn Event = "confirm return"
	CancelReturn  Event = "cancel return"
)

// Transition is the only way an event goes.
type Transition struct{ From, To FreezeStatus }

// transitions is the state table. The guards in SQL are made from it: an UPDATE that finds no row in From has met an illegal event.
var transitions = map[Event]Transition{
	Freeze:        {None, Frozen},
	Deduct:        {Frozen, Deducted},
	Release:       {Frozen, Released},
	Return:        {Deducted, Returning},
	ConfirmReturn: {Returning, Returned},
	CancelReturn:  {Returning, Deducted},
}

// Transition returns the row of the state table, for the guard in SQL.
func (e Event) Transition() Transition { return transitions[e] }
