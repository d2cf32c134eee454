package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

// Payment is one payment in numbers, all of them read from the running system.
type Payment struct {
	Order      string    `json:"order"`
	TotalCents int64     `json:"total_cents"`
	Points     int64     `json:"points"`
	At         time.Time `json:"at"`
	Before     Numbers   `json:"before"`
	middle
	After Numbers `json:"after"`
}

// Pay creates an order and pays it. A refusal is an outcome, not an error.
func (d *Demo) Pay(ctx context.Context) (Payment, error) {
	o, err := d.order(ctx, rand.Text())
	if err != nil {
		return Payment{}, err
	}
	return d.pay(ctx, o)
}

// pay pays o and reads the numbers before, while the payment is held, and after.
func (d *Demo) pay(ctx context.Context, o order) (p Payment, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p = Payment{Order: o.ID, Points: o.Points, TotalCents: o.TotalCents, At: time.Now()}
	if p.Before, err = d.numbers(ctx, o.ID); err != nil {
		return p, err
	}
	if p.middle, o, err = d.hold(ctx, o.ID, "/v1/orders/"+o.ID+"/pay", paymentHolds); err != nil {
		return p, err
	}
	p.Reason = o.Reason
	p.After, err = d.numbers(ctx, o.ID)
	return p, err
}

// payRefused pays o while the operator has the shopper's credit account frozen.
func (d *Demo) payRefused(ctx context.Context, o order) (p Payment, err error) {
	after := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, d.freeze(after, false)) }()
	if err := d.freeze(ctx, true); err != nil {
		return Payment{}, err
	}
	// The Tries run concurrently, and the first refusal ends the others. A delayed one finds them done, so there is something to see.
	defer func() { err = errors.Join(err, d.setFaults(after, "credit", "", lateCredit)) }()
	if err := d.setFaults(ctx, "credit", "delay(400ms)*1", lateCredit); err != nil {
		return Payment{}, err
	}
	return d.pay(ctx, o)
}

// what says what is bought.
func (p Payment) what() string {
	return fmt.Sprintf("%d × %s at %s, %d points", quantity, sku, money(p.TotalCents/quantity), p.Points)
}

// Write writes the payment under a title.
func (p Payment) Write(w io.Writer, title string, color bool) {
	rows := []row{statusRow, sellableRow, frozenRow, soldRow, creditRow, prepareAddRow, slipRow}
	note, last := "Try reserves in four databases; Confirm makes it final.", "after Confirm"
	outcome := fmt.Sprintf("in %d ms, and %d ms held still to read the column in the middle.", p.Took.Milliseconds(), p.Held.Milliseconds())
	if p.Reason != "" {
		rows = []row{statusRow, sellableRow, frozenRow, creditRow, prepareAddRow, slipRow}
		note, last = "One of the four refuses its Try: Cancel instead of Confirm.", "after Cancel"
		outcome = fmt.Sprintf("%s. All four or none: what was held is given back.", p.Reason)
	}
	page := page{w, color}
	page.heading(title, note, p.Order)
	page.table(rows, column{"before", p.Before}, column{"after Try", p.Tried}, column{last, p.After})
	page.outcome(p.After.Order, outcome)
}
