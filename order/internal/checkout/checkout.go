// Package checkout opens the payment and the refund, transactions over order, inventory, credit and wms, and drives them to
// their decision. The steps and why they are safe are in docs/payment.md; both kinds take the same.
package checkout

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/payment"
)

// Times bound a payment. They must grow: one call < Deadline < TimeoutToFail.
type Times struct {
	// TimeoutToFail: the coordinator cancels what is not submitted by then. Whole seconds, below 10.
	TimeoutToFail time.Duration
	// Deadline: the initiator decides by then, counted from Prepare.
	Deadline time.Duration
	// Wait is how long pay waits for the row behind the decision.
	Wait time.Duration
	// Call bounds one call of a participant or of the coordinator.
	Call time.Duration
}

// scope names this package's spans and metrics.
const scope = "example.com/fourfold/order/internal/checkout"

// Checkout is the initiator.
type Checkout struct {
	store           *mysql.Store
	coordinator     *tcc.Coordinator
	payment, refund flow
	times           Times
	tracer          trace.Tracer
}

// flow is one kind of transaction over the four services.
type flow struct {
	kind order.Kind
	// name stands in front of its failpoints.
	name string
	// try is order's own Try.
	try          func(ctx context.Context, orderID string) (*emptypb.Empty, error)
	participants []participant
}

// New makes the initiator. own is the address where the coordinator reaches this service's Confirm and Cancel.
func New(store *mysql.Store, c *tcc.Coordinator, p *payment.Payment, r *payment.Refund, own string, inventory, credit, wms Peer, times Times) *Checkout {
	return &Checkout{
		store: store, coordinator: c, times: times, tracer: otel.Tracer(scope),
		payment: flow{order.Payment, "checkout", p.Try, payers(own, inventory, credit, wms)},
		refund:  flow{order.Refund, "refund", r.Try, refunders(own, inventory, credit, wms)},
	}
}

// Pay pays a member's order and returns when the order's row is final or Wait is over. It does not say how the payment
// ended: the row does. PAID and CANCELED are final, UPDATING is still being decided, CREATED means nothing happened and the
// order can be paid later. Of several calls at once one pays and the others wait for its outcome. ErrNotFound.
//
// The payment goes on when ctx ends: what was begun is brought to its decision.
func (c *Checkout) Pay(ctx context.Context, memberID, orderID string) error {
	return c.run(ctx, c.payment, memberID, orderID)
}

// Refund undoes a member's paid order in the same way: REFUNDED is final, REFUNDING is still being decided, PAID means it was
// refused or nothing happened, as the last attempt tells. ErrNotFound.
func (c *Checkout) Refund(ctx context.Context, memberID, orderID string) error {
	return c.run(ctx, c.refund, memberID, orderID)
}

func (c *Checkout) run(ctx context.Context, f flow, memberID, orderID string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	// Made here, new for each attempt: the coordinator takes a second Prepare of the same gid for the first.
	gid := f.name + "-" + id.String()
	opened, err := c.store.OpenAttempt(ctx, f.kind, memberID, orderID, gid)
	if err != nil {
		return err
	}
	if opened {
		if err := c.begin(context.WithoutCancel(ctx), f, memberID, orderID, gid); err != nil {
			return err // the sweeper gives the attempt up
		}
	}
	return c.await(ctx, f, orderID)
}

// begin drives the attempt that is recorded as gid to its decision, or gives it up. Its span is the parent of all that the
// transaction does, the Confirms and Cancels included.
func (c *Checkout) begin(ctx context.Context, f flow, memberID, orderID, gid string) error {
	ctx, span := c.tracer.Start(ctx, f.name)
	defer span.End()
	telemetry.Note(ctx, slog.String("order", orderID), slog.String("gid", gid))
	var o order.Order
	err := c.call(ctx, func(ctx context.Context) (err error) {
		o, err = c.store.Order(ctx, memberID, orderID)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.attempt(ctx, f, o, gid); err != nil {
		span.SetStatus(codes.Error, "not begun")
		slog.WarnContext(ctx, "not begun", "kind", f.kind, "err", err)
	}
	return nil
}

// attempt opens the global transaction gid for o and submits or aborts it. An error means that the order was not
// touched, as far as is known.
func (c *Checkout) attempt(ctx context.Context, f flow, o order.Order, gid string) error {
	if err := f.hit(ctx, "attempt-recorded"); err != nil {
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, c.times.Deadline)
	defer cancel()

	global, err := c.prepare(deadline, f, o, gid)
	if err == nil {
		err = c.tryOwn(deadline, f, global, o, gid)
	} else {
		_, abandonErr := c.abandon(ctx, f, o.ID, gid)
		err = errors.Join(err, abandonErr)
	}
	if err != nil {
		c.abort(ctx, global, "order was not held: "+err.Error())
		return err
	}
	if err := f.hit(ctx, "order-tried"); err != nil {
		return err
	}

	if reason := c.tryOthers(deadline, f, global, o); reason != "" {
		if err := f.hit(ctx, "refused"); err != nil {
			return err
		}
		err := c.call(ctx, func(ctx context.Context) error { return c.store.RecordReason(ctx, gid, reason) })
		if err != nil {
			// Cancel will say PAYMENT_TIMEOUT.
			slog.WarnContext(ctx, "reason not recorded", "reason", reason, "err", err)
		}
		if err := f.hit(ctx, "reason-recorded"); err != nil {
			return err
		}
		slog.InfoContext(ctx, "decided: abort", "kind", f.kind, "reason", reason)
		c.abort(ctx, global, string(reason))
		return f.hit(ctx, "aborted")
	}
	if err := f.hit(ctx, "all-tried"); err != nil {
		return err
	}

	slog.InfoContext(ctx, "decided: submit", "kind", f.kind)
	c.submit(ctx, deadline, global)
	return f.hit(ctx, "submitted")
}

// prepare opens the transaction and registers all four branches, one after another. The transaction is never nil.
func (c *Checkout) prepare(ctx context.Context, f flow, o order.Order, gid string) (*tcc.Transaction, error) {
	var global *tcc.Transaction
	err := c.call(ctx, func(ctx context.Context) (err error) {
		global, err = c.coordinator.Prepare(ctx, gid, o.ID, c.times.TimeoutToFail)
		return err
	})
	if err == nil {
		err = f.hit(ctx, "prepared")
	}
	for _, p := range f.participants {
		if err != nil {
			return global, err
		}
		err = c.call(ctx, func(ctx context.Context) error { return global.Register(ctx, p.branch(o)) })
	}
	if err == nil {
		err = f.hit(ctx, "registered")
	}
	return global, err
}

// tryOwn runs order's own Try, first and alone: a quick refusal elsewhere would otherwise cancel order before its Try
// landed, the barrier would take that for an empty rollback, and the order would stay CREATED while the shopper hears
// CANCELED. It returns nil only when the row says that gid holds the order; else the attempt is abandoned.
func (c *Checkout) tryOwn(ctx context.Context, f flow, global *tcc.Transaction, o order.Order, gid string) error {
	_, tryErr := f.try(global.LocalTryContext(ctx, f.participants[0].branchID), o.ID)
	after := context.WithoutCancel(ctx) // the deadline is for deciding, not for finding out
	if tryErr == nil {
		// The barrier answers nil also for a Try that comes after its Cancel, when the coordinator timed out first.
		var state mysql.State
		err := c.call(after, func(ctx context.Context) (err error) {
			state, err = c.store.State(ctx, o.ID)
			return err
		})
		if err == nil && state.GID == gid && state.Status == f.kind.Try().To {
			return nil
		}
		tryErr = errors.Join(errors.New("the Try answered, but the row is not held"), err)
	}
	held, err := c.abandon(after, f, o.ID, gid)
	if held {
		return nil // the answer was lost, the Try was not
	}
	return errors.Join(tryErr, err)
}

func (c *Checkout) abandon(ctx context.Context, f flow, orderID, gid string) (held bool, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		held, err = c.store.AbandonAttempt(ctx, f.kind, orderID, gid)
		return err
	})
	return held, err
}

// call bounds one remote call.
func (c *Checkout) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.times.Call)
	defer cancel()
	return f(ctx)
}

// await reads the row until it is final, nobody is at it any more, or Wait is over. It leaves the caller the time to answer.
func (c *Checkout) await(ctx context.Context, f flow, orderID string) error {
	wait := c.times.Wait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)-time.Second)
	}
	timeout := time.After(wait)
	for pause := 3 * time.Millisecond; ; pause = min(pause*3/2, 100*time.Millisecond) {
		state, err := c.store.State(ctx, orderID)
		t := f.kind.Try()
		undecided := state.Status == t.To || state.Status == t.From && state.Busy
		if err != nil || !undecided {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return nil
		case <-time.After(pause):
		}
	}
}

// hit is a failpoint of the flow.
func (f flow) hit(ctx context.Context, point string) error {
	return failpoint.Hit(ctx, f.name+"/"+point)
}
