package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"
)

// Refund is a purchase and its refund in numbers, all of them read from the running system.
type Refund struct {
	Order string `json:"order"`
	// Before are the numbers before the purchase.
	Before Numbers `json:"before"`
	Paid   Numbers `json:"paid"`
	middle
	After Numbers `json:"after"`
}

// Refund creates an order, pays it and has it refunded.
func (d *Demo) Refund(ctx context.Context) (Refund, error) {
	o, err := d.order(ctx, rand.Text())
	if err != nil {
		return Refund{}, err
	}
	return d.refund(ctx, o)
}

// refund pays o, has it refunded, and reads the numbers before, between, while the refund is held, and after.
func (d *Demo) refund(ctx context.Context, o order) (r Refund, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r.Order = o.ID
	if r.Before, err = d.numbers(ctx, o.ID); err != nil {
		return r, err
	}
	if _, err = d.shopper.pay(ctx, o.ID); err != nil {
		return r, err
	}
	if r.Paid, err = d.numbers(ctx, o.ID); err != nil {
		return r, err
	}
	if r.middle, o, err = d.hold(ctx, o.ID, "/v1/orders/"+o.ID+"/refund", refundHolds); err != nil {
		return r, err
	}
	if r.Reason == "" {
		if err := expect(o, "REFUNDED"); err != nil {
			return r, err
		}
	}
	r.After, err = d.numbers(ctx, o.ID)
	return r, err
}

// Write writes the refund under a title.
func (r Refund) Write(w io.Writer, title string, color bool) {
	last := "after Confirm"
	outcome := fmt.Sprintf("in %d ms, and %d ms held still to read the column after Try.", r.Took.Milliseconds(), r.Held.Milliseconds())
	if r.Reason != "" {
		last, outcome = "after Cancel", fmt.Sprintf("as before: the refund was refused, %s.", r.Reason)
	}
	page := page{w, color}
	page.heading(title, "A transaction of its own over the same four: Try holds, Confirm gives back.", r.Order)
	page.table([]row{statusRow, sellableRow, soldRow, freezeRow, creditRow, prepareDeductRow, slipRow},
		column{"before", r.Before}, column{"paid", r.Paid}, column{"after Try", r.Tried}, column{last, r.After})
	page.outcome(r.After.Order, outcome)
	switch {
	case r.Reason != "":
	case r.After.balance() == r.Before.balance():
		page.line("As before the purchase: %s.", r.After)
	default:
		page.line("Somebody else bought meanwhile: %s, and before the purchase %s.", r.After, r.Before)
	}
}
