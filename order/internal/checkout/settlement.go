package checkout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/mysql"
)

// Decision is what an operator decides about an attempt that does not settle by itself.
type Decision string

// The decisions.
const (
	Confirm Decision = "CONFIRM"
	Cancel  Decision = "CANCEL"
	// Try decides nothing: it has the Tries made once more that left nothing, so that their Confirms find something.
	Try Decision = "TRY"
)

// Decisions returns all.
func Decisions() []Decision { return []Decision{Confirm, Cancel, Try} }

// Standing is where an order's open attempt stands.
type Standing struct {
	mysql.OpenAttempt
	Coordinator tcc.Status
	// Branches are in the transaction's order, order's own first.
	Branches []BranchStanding
}

// BranchStanding is how far one branch has come.
type BranchStanding struct {
	Service string
	State   tcc.State
	// Err is why the phase that Settle called failed.
	Err error
}

// ErrNothingOpen is returned for an order without an open attempt: there is nothing to settle.
var ErrNothingOpen = errors.New("nothing is open: no payment and no refund of this order is under way")

// Refused is the error for a decision that is not possible.
type Refused struct{ Reason string }

func (r Refused) Error() string { return r.Reason }

// Silent is the error when a service, or the coordinator, does not say where the attempt stands.
type Silent struct {
	Service string
	Err     error
}

func (s Silent) Error() string { return s.Service + " does not answer: " + s.Err.Error() }

// Unwrap returns the reason.
func (s Silent) Unwrap() error { return s.Err }

// Standing asks the coordinator and then every branch where the order's open attempt stands. It returns ErrNothingOpen or a Silent.
func (c *Checkout) Standing(ctx context.Context, orderID string) (Standing, error) {
	attempt, open, err := c.store.Open(ctx, orderID)
	if err != nil {
		return Standing{}, err
	}
	if !open {
		return Standing{}, ErrNothingOpen
	}
	s := Standing{OpenAttempt: attempt}
	// The coordinator first, then the rows: once it is through with the transaction, it calls no more phases.
	if s.Coordinator, err = c.coordinator.Status(ctx, s.GID); err != nil {
		return Standing{}, Silent{"the coordinator", err}
	}
	branches := c.flows[s.Kind].all()
	s.Branches = make([]BranchStanding, len(branches))
	group, ctx := errgroup.WithContext(ctx)
	for i, b := range branches {
		group.Go(func() error {
			s.Branches[i].Service = b.service
			err := c.call(ctx, func(ctx context.Context) (err error) {
				s.Branches[i].State, err = c.coordinator.State(ctx, b.conn, s.GID, b.id)
				return err
			})
			if err != nil {
				return Silent{b.service, err}
			}
			return nil
		})
	}
	return s, group.Wait()
}

// settleAfter is the age from which an attempt can be settled by hand: nobody's call of it is under way any more.
const settleAfter = 15 * time.Second

// Refusal returns why d is not possible, "" when it is. All or none holds whatever is decided: no branch is confirmed beside one that is not
// tried or is canceled, and none is canceled beside one that is confirmed.
func (s Standing) Refusal(d Decision) string {
	has := func(state tcc.State) (service string, ok bool) {
		i := slices.IndexFunc(s.Branches, func(b BranchStanding) bool { return b.State == state })
		if i < 0 {
			return "", false
		}
		return s.Branches[i].Service, true
	}
	open := s.Coordinator == tcc.Prepared || s.Coordinator == tcc.Submitted || s.Coordinator == tcc.Aborting
	canceled, anyCanceled := has(tcc.Canceled)
	confirmed, anyConfirmed := has(tcc.Confirmed)
	none, anyNone := has(tcc.None)
	switch {
	case s.Age < settleAfter:
		return "its initiator may still be at work: wait"
	case !s.Held:
		return "the order is not held by this attempt, so nothing can be settled: the attempt is given up by itself, or the books are wrong"
	case open && (d != Try || s.Coordinator != tcc.Submitted):
		return fmt.Sprintf("the coordinator has it open (%s) and ends it by itself", s.Coordinator)
	case anyNone && s.Age >= tcc.MinKeepBarrier:
		return fmt.Sprintf("%s has no trace of it, and it is so old that its traces may have been deleted", none)
	}
	switch d {
	case Confirm:
		switch {
		case s.Coordinator == tcc.Failed:
			return "the coordinator has canceled it"
		case anyCanceled:
			return canceled + " is canceled"
		case anyNone:
			return none + " was not tried, or has lost it: TRY first, or CANCEL"
		}
	case Cancel:
		switch {
		case s.Coordinator == tcc.Succeeded:
			return "the coordinator has confirmed it"
		case anyConfirmed:
			return confirmed + " is confirmed"
		}
	case Try:
		switch {
		case s.Coordinator == tcc.Failed:
			return "the coordinator has canceled it"
		case anyCanceled:
			return canceled + " is canceled"
		case !anyNone:
			return "every service has tried it"
		case s.Branches[0].State == tcc.None:
			return "order itself has no trace of its Try"
		}
	}
	return ""
}

// Settle carries d out: it calls Confirm or Cancel of every branch in the coordinator's order, and stops at the first that fails; or Try of those
// that have none. The barrier lets each phase have its effect once, so Settle may be repeated, also after it failed half-way. Of two that decide
// differently at the same time, the one that reaches the first branch first wins: the other one fails there and goes no further. It returns a
// Refused when d is not possible; then nothing was changed. A phase that failed is in the Standing.
func (c *Checkout) Settle(ctx context.Context, orderID string, d Decision) (Standing, error) {
	s, err := c.Standing(ctx, orderID)
	if err != nil {
		return s, err
	}
	if reason := s.Refusal(d); reason != "" {
		return s, Refused{reason}
	}
	o, err := c.store.Order(ctx, s.MemberID, orderID)
	if err != nil {
		return s, err
	}
	branches := c.flows[s.Kind].all()
	for i, b := range slices.Backward(branches) {
		if d == Try && s.Branches[i].State != tcc.None {
			continue
		}
		phase, method, reached := b.of(d)
		err := c.call(ctx, func(ctx context.Context) error {
			return c.coordinator.Call(ctx, b.conn, s.GID, b.id, orderID, phase, method, b.Request(o))
		})
		if s.Branches[i].Err = err; err != nil {
			break
		}
		s.Branches[i].State = reached
	}
	return s, nil
}

// of returns the phase that carries d out, its method, and the state that it reaches.
func (b branch) of(d Decision) (tcc.Phase, string, tcc.State) {
	switch d {
	case Confirm:
		return tcc.Confirm, b.Confirm, tcc.Confirmed
	case Cancel:
		return tcc.Cancel, b.Cancel, tcc.Canceled
	}
	return tcc.Try, b.Try, tcc.Tried
}
