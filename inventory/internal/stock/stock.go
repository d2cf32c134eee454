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
	// ErrNotEnough: fewer units are sellable than asked for.
	ErrNotEnough = errors.New("not enough in stock")
	// ErrUnknown: no product has this sku.
	ErrUnknown = errors.New("no such product")
	// ErrExists: the sku is taken.
	ErrExists = errors.New("the sku is taken")
	// ErrNotSold: the order has taken nothing that could come back.
	ErrNotSold = errors.New("nothing of this order is sold")
	// ErrLines: the lines of a freeze are not usable.
	ErrLines = errors.New("a freeze needs lines, each with a sku and a quantity above 0")
)

// Product is what is sold. PriceCents is the price of one unit.
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
	// None: the order holds nothing.
	None FreezeStatus = ""
	// Frozen: set aside by an open payment.
	Frozen FreezeStatus = "FROZEN"
	// Deducted: sold by a payment that was confirmed.
	Deducted FreezeStatus = "DEDUCTED"
	// Released: given back by a payment that was canceled.
	Released FreezeStatus = "RELEASED"
	// Returning: coming back by an open refund.
	Returning FreezeStatus = "RETURNING"
	// Returned: back on the shelf.
	Returned FreezeStatus = "RETURNED"
)

// Event is what happens to a freeze: a phase of the payment or of the refund.
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

// Transition is the one way an event goes.
type Transition struct{ From, To FreezeStatus }

// transitions is the state table. The guards in SQL are made of it: an UPDATE that finds no row in From has met an illegal event.
var transitions = map[Event]Transition{
	Freeze:        {None, Frozen},
	Deduct:        {Frozen, Deducted},
	Release:       {Frozen, Released},
	Return:        {Deducted, Returning},
	ConfirmReturn: {Returning, Returned},
	CancelReturn:  {Returning, Deducted},
}

// Transition gives the row of the state table, for the guard in SQL.
func (e Event) Transition() Transition { return transitions[e] }
