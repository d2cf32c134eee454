package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Shipment is an order's way out of the warehouse, in numbers. A column that has not been reached is nil.
type Shipment struct {
	Order     string   `json:"order"`
	Paid      *Numbers `json:"paid"`
	Picked    *Numbers `json:"picked"`
	Shipped   *Numbers `json:"shipped"`
	Delivered *Numbers `json:"delivered"`
	// Refused is why the refund was refused that was requested when the order was picked, and Unmoved are the numbers after it.
	Refused string   `json:"refund_refused"`
	Unmoved *Numbers `json:"after_refused_refund"`
	// Followed is how long after the parcel left the order's status followed; 0 when that was not seen, because the demo was killed meanwhile.
	Followed time.Duration `json:"followed_ns"`
	// Messages are those about the order. They are missing in older records.
	Messages []message `json:"messages,omitempty"`
}

// Ship pays an order and ships it.
func (d *Demo) Ship(ctx context.Context) (Shipment, error) {
	o, err := d.paid(ctx)
	if err != nil {
		return Shipment{}, err
	}
	s := Shipment{Order: o.ID}
	return s, d.ship(ctx, &s, func() error { return nil })
}

// errMoved is returned by ship when the order is not where the shipment left it.
var errMoved = errors.New("somebody else moved the order on")

// ship continues s to the end and calls save after each step. A step that is repeated finds its work done.
func (d *Demo) ship(ctx context.Context, s *Shipment, save func() error) error {
	var found struct {
		Deliveries []struct{ ID, Status string }
	}
	if err := d.operator.do(ctx, http.MethodGet, "/v1/ops/deliveries?order_id="+s.Order, nil, &found); err != nil {
		return err
	}
	if len(found.Deliveries) != 1 {
		return fmt.Errorf("%w: order %s has %d slips", errMoved, s.Order, len(found.Deliveries))
	}
	slip := found.Deliveries[0]
	for _, step := range []struct {
		at          **Numbers
		work, slip  string
		from, order string
	}{
		{&s.Paid, "", "CREATED", "", "PAID"},
		{&s.Picked, "pick", "PICKED", "", "PAID"},
		{&s.Shipped, "ship", "SHIPPED", "PAID", "SHIPPED"},
		{&s.Delivered, "deliver", "DELIVERED", "SHIPPED", "COMPLETED"},
	} {
		if *step.at != nil {
			continue
		}
		start := time.Now()
		if step.work != "" {
			err := d.operator.do(ctx, http.MethodPost, "/v1/ops/deliveries/"+slip.ID+"/"+step.work, map[string]any{}, nil)
			if answered(err, http.StatusConflict) {
				return fmt.Errorf("%w: %w", errMoved, err)
			}
			if err != nil {
				return err
			}
		}
		_, err := d.shopper.await(ctx, s.Order, func(status string) bool {
			return status != step.from && status != "REFUNDING"
		})
		if err != nil {
			return err
		}
		if step.work == "ship" && slip.Status != "SHIPPED" { // else it left earlier
			s.Followed = time.Since(start)
		}
		now, err := d.numbers(ctx, s.Order)
		if err != nil {
			return err
		}
		if now.Order != step.order || now.Slip != step.slip {
			return fmt.Errorf("%w: order %s is %s and its slip %s", errMoved, s.Order, now.Order, now.Slip)
		}
		if step.work == "pick" {
			if err := d.refundRefused(ctx, s); err != nil {
				return err
			}
		}
		if step.work == "deliver" {
			if s.Messages, err = d.messages(ctx, "order_id", s.Order); err != nil {
				return err
			}
		}
		*step.at = &now
		if err := save(); err != nil {
			return err
		}
	}
	return nil
}

// refundRefused asks for a refund of what is picked, again while that is undecided: a repeated request gets the same outcome.
func (d *Demo) refundRefused(ctx context.Context, s *Shipment) error {
	var reply struct{ Status string }
	ask := func() error {
		return d.shopper.do(ctx, http.MethodPost, "/v1/orders/"+s.Order+"/refund", map[string]any{}, &reply)
	}
	err := ask()
	for n := 0; err == nil && reply.Status == "REFUNDING" && n < 10; n++ {
		err = ask()
	}
	var refused *refusal
	if !answered(err, http.StatusConflict) || !errors.As(err, &refused) {
		return fmt.Errorf("order %s is picked and its refund was not refused: %s %w", s.Order, reply.Status, err)
	}
	s.Refused = refused.Reason
	if _, err := d.shopper.settled(ctx, s.Order); err != nil {
		return err
	}
	now, err := d.numbers(ctx, s.Order)
	s.Unmoved = &now
	return err
}

// told returns a sentence on how long the messages of the warehouse took to have their effect on the order.
func (s Shipment) told() string {
	var told []string
	for _, m := range s.Messages {
		for _, c := range m.Consumptions {
			if c.Group == "order-deliveries" && c.State == "DONE" {
				told = append(told, fmt.Sprintf("%s in %d ms", m.Type, c.ClosedAt.Sub(m.BornAt).Milliseconds()))
			}
		}
	}
	return strings.Join(told, ", ")
}

// Write writes a finished shipment under a title.
func (s Shipment) Write(w io.Writer, title string, color bool) {
	page := page{w, color}
	page.heading(title, "No transaction here: the warehouse tells what it did, and the order follows.", s.Order)
	page.table([]row{statusRow, slipRow}, column{"paid", *s.Paid}, column{"picked", *s.Picked},
		column{"shipped", *s.Shipped}, column{"delivered", *s.Delivered})
	followed := "It read SHIPPED after the parcel left."
	if s.Followed > 0 {
		followed = fmt.Sprintf("It read SHIPPED %d ms after the parcel left.", s.Followed.Milliseconds())
	}
	page.outcome(s.Delivered.Order, followed)
	moved := "Nothing else moved: %s."
	for _, n := range []*Numbers{s.Picked, s.Shipped, s.Delivered} {
		if n.balance() != s.Paid.balance() {
			moved = "Somebody else bought meanwhile: %s."
		}
	}
	page.line(moved, *s.Delivered)
	if told := s.told(); told != "" {
		page.line("By message: %s.", told)
	}
	if *s.Unmoved == *s.Picked {
		page.line("A refund once it was picked: refused, %s; nothing changed.", s.Refused)
	} else {
		page.line("A refund once it was picked: refused, %s; then %s.", s.Refused, *s.Unmoved)
	}
}
