package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
)

// Story is what the demo did. It is done once and kept in demo-table.json: the first payment has the numbers of the documentation, and a second
// demo must not double anything. A chapter that is nil is not complete.
type Story struct {
	// Begun is the Idempotency-Key of the order of the chapter under way. It is saved before the order is created: the same key finds the order
	// again, whenever the demo is killed.
	Begun    string    `json:"begun,omitempty"`
	SignUp   *SignUp   `json:"sign_up"`
	Paid     *Payment  `json:"paid"`
	Refused  *Payment  `json:"refused"`
	Shipment *Shipment `json:"shipment"`
	Refund   *Refund   `json:"refund"`

	file string
}

// load reads the record in the data folder.
func load(dir string) (Story, error) {
	s := Story{file: filepath.Join(dir, "demo-table.json")}
	data, err := os.ReadFile(s.file)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%s: %w: delete it to see everything anew", s.file, err)
	}
	return s, nil
}

// save replaces the record as a whole: half a record would be useless.
func (s *Story) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

func (s *Story) complete() bool {
	return s.SignUp != nil && s.Paid != nil && s.Refused != nil && s.Shipment != nil && s.Shipment.Delivered != nil && s.Refund != nil
}

// Tell shows the demo, chapter by chapter: a sign-up and what it sets off, a payment, one that is refused, the shipment of what was paid, and a
// refund. What an earlier demo recorded is shown again, not done again; what an interrupted one left half done is undone and done anew, so that
// in the end the numbers are those of one demo. The books come last; Tell returns ErrBooks when they do not add up.
func (d *Demo) Tell(ctx context.Context, w io.Writer, color bool) error {
	s, err := load(d.dir)
	if err != nil {
		return err
	}
	if s.complete() {
		_, _ = fmt.Fprintf(w, "\n  As recorded on %s; nothing is bought now.\n", s.Paid.At.Format("2 January 2006 at 15:04"))
	} else if s.SignUp != nil || s.Paid != nil || s.Begun != "" {
		// The earlier demo was killed, or had fewer chapters.
		_, _ = fmt.Fprintf(w, "\n  An earlier demo began this: this one goes on, and does nothing twice.\n")
	}

	if s.SignUp == nil {
		// A demo that was killed here has signed up a member who was never shown; nothing else depends on that.
		signUp, err := d.SignUp(ctx)
		if err != nil {
			return err
		}
		s.SignUp = &signUp
		if err := s.save(); err != nil {
			return err
		}
	}
	s.SignUp.Write(w, "1  A shopper signs up", color)

	if s.Paid == nil {
		if err := d.chapter(ctx, &s, func(o order) (err error) {
			s.Paid, err = outcome(d.pay(ctx, o))("PAID")
			return err
		}); err != nil {
			return err
		}
	}
	s.Paid.Write(w, "2  A payment: "+s.Paid.what(), color)

	if s.Refused == nil {
		if err := d.chapter(ctx, &s, func(o order) (err error) {
			s.Refused, err = outcome(d.payRefused(ctx, o))("CANCELED")
			return err
		}); err != nil {
			return err
		}
	}
	s.Refused.Write(w, "3  The same while the shopper's credit account is frozen", color)

	if s.Shipment == nil || s.Shipment.Delivered == nil {
		if err := d.shipFirst(ctx, &s); err != nil {
			return err
		}
	}
	s.Shipment.Write(w, "4  The warehouse picks, ships and delivers the first order", color)

	if s.Refund == nil {
		if err := d.chapter(ctx, &s, func(o order) error {
			r, err := d.refund(ctx, o)
			if err == nil {
				err = expect(order{ID: o.ID, Status: r.After.Order, Reason: r.Reason}, "REFUNDED")
			}
			s.Refund = &r
			return err
		}); err != nil {
			return err
		}
	}
	s.Refund.Write(w, "5  Another order is paid, and refunded before it is picked", color)
	return d.close(ctx, page{w, color})
}

// outcome returns a function that returns the payment, or an error when it did not end in status.
func outcome(p Payment, err error) func(status string) (*Payment, error) {
	return func(status string) (*Payment, error) {
		if err == nil {
			err = expect(order{ID: p.Order, Status: p.After.Order, Reason: p.Reason}, status)
		}
		return &p, err
	}
}

// chapter calls do, which tells a chapter about a fresh order, and records the chapter.
func (d *Demo) chapter(ctx context.Context, s *Story, do func(order) error) error {
	o, err := d.fresh(ctx, s)
	if err == nil {
		err = do(o)
	}
	if err != nil {
		return err
	}
	s.Begun = ""
	return s.save()
}

// shipFirst ships the first order, or another one when a person shipped or refunded that.
func (d *Demo) shipFirst(ctx context.Context, s *Story) error {
	if s.Shipment == nil {
		s.Shipment = &Shipment{Order: s.Paid.Order}
	}
	err := d.ship(ctx, s.Shipment, s.save)
	if !errors.Is(err, errMoved) {
		return err
	}
	if err := d.chapter(ctx, s, func(o order) error {
		s.Shipment = &Shipment{Order: o.ID}
		_, err := d.shopper.pay(ctx, o.ID)
		return err
	}); err != nil {
		return err
	}
	return d.ship(ctx, s.Shipment, s.save)
}

// fresh returns an unpaid order for a chapter. An order that an interrupted demo had begun is used when it was not paid, and refunded when it
// was: its numbers in the middle were not seen.
func (d *Demo) fresh(ctx context.Context, s *Story) (order, error) {
	if s.Begun != "" {
		o, err := d.order(ctx, s.Begun)
		if err == nil {
			o, err = d.shopper.settled(ctx, o.ID)
		}
		if err == nil && o.Status == "PAID" {
			o, err = d.undo(ctx, o.ID)
		}
		if err != nil || o.Status == "CREATED" {
			return o, err
		}
	}
	s.Begun = rand.Text()
	if err := s.save(); err != nil {
		return order{}, err
	}
	return d.order(ctx, s.Begun)
}

// undo refunds an order. When that is refused, because a person picked it, the order stays as it is.
func (d *Demo) undo(ctx context.Context, id string) (order, error) {
	err := d.shopper.do(ctx, http.MethodPost, "/v1/orders/"+id+"/refund", map[string]any{}, nil)
	if err != nil && !answered(err, http.StatusConflict) {
		return order{}, err
	}
	return d.shopper.settled(ctx, id)
}
