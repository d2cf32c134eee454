// Package checkout opens the payment and the refund, transactions over order, inventory, credit and wms, and drives them to their decision.
// docs/payment.md lists the steps and why they are safe; both kinds take the same steps.
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
	"google.golang.org/grpc"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/payment"
)

// Times bound a payment. They must grow: one call < Deadline < TimeoutToFail.
type Times struct {
	// TimeoutToFail is the age at which the coordinator cancels a transaction that was not submitted. Whole seconds, below 10.
	TimeoutToFail time.Duration `yaml:"timeout_to_fail"`
	// Deadline is how long after Prepare the initiator decides at the latest.
	Deadline time.Duration `yaml:"deadline"`
	// Wait is how long Run waits for the row after the decision.
	Wait time.Duration `yaml:"wait"`
	// Call bounds one call of a participant or of the coordinator.
	Call time.Duration `yaml:"call"`
}

// scope names this package's spans and metrics.
const scope = "example.com/fourfold/order/internal/checkout"

// Checkout is the initiator of payments and refunds.
type Checkout struct {
	store       *mysql.Store
	coordinator *tcc.Coordinator
	flows       map[order.Kind]flow
	times       Times
	tracer      trace.Tracer
}

// New returns the initiator of transactions over order, whose Confirm and Cancel the coordinator reaches at own and this process over conn, and
// others.
func New(store *mysql.Store, c *tcc.Coordinator, p *payment.Payment, r *payment.Refund, own string, conn grpc.ClientConnInterface,
	others participant.Peers, times Times) *Checkout {
	return &Checkout{
		store: store, coordinator: c, times: times, tracer: otel.Tracer(scope),
		flows: map[order.Kind]flow{
			order.Payment: newFlow(order.Payment, "checkout", p.Try, &p.Settled, ownPayment(own, conn), others),
			order.Refund:  newFlow(order.Refund, "refund", r.Try, &r.Settled, ownRefund(own, conn), others),
		},
	}
}

// Run pays or refunds a member's order, as kind says. It returns when the order's row is final or Wait is over; the outcome is in the row, not
// in the returned error.
//
//   - Payment: PAID and CANCELED are final, UPDATING is still being decided, CREATED means that nothing happened and the order can be
//     paid later.
//   - Refund: REFUNDED is final, REFUNDING is still being decided, PAID means that it was refused or that nothing happened; the last
//     attempt tells which.
//
// Of several concurrent calls one does the work and the others wait for its outcome. Run returns order.ErrNotFound when the member has no such
// order. A transaction that was begun goes on to its decision even when ctx ends.
func (c *Checkout) Run(ctx context.Context, kind order.Kind, memberID, orderID string) error {
	f := c.flows[kind]
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	// The gid is made here, new for each attempt: the coordinator takes a second Prepare with the same gid for the first.
	gid := f.name + "-" + id.String()
	o, opened, err := c.store.OpenAttempt(ctx, kind, memberID, orderID, gid)
	if err != nil {
		return err
	}
	settled, leave := f.settled.Wait(orderID) // from here on: what settled it before is in the row
	defer leave()
	driven := false
	if opened {
		ctx, span := c.tracer.Start(context.WithoutCancel(ctx), f.name) // the parent of all Tries, Confirms and Cancels
		telemetry.Note(ctx, slog.String("order", orderID), slog.String("gid", gid))
		err := c.drive(ctx, f, o, gid)
		if driven = err == nil; !driven {
			span.SetStatus(codes.Error, "not begun")
			slog.WarnContext(ctx, "not begun", "kind", kind, "err", err)
		}
		span.End() // at the decision: what the Confirms take is theirs
	}
	return c.await(ctx, f, orderID, settled, driven)
}

// drive takes the attempt gid of o to its decision, in the steps of docs/payment.md. Each step ends at a failpoint of its name. An error means
// that the order was not touched, as far as is known.
func (c *Checkout) drive(ctx context.Context, f flow, o order.Order, gid string) error {
	if err := f.passed(ctx, "attempt-recorded"); err != nil {
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, c.times.Deadline)
	defer cancel()
	global, err := c.prepare(deadline, f, o, gid)
	if err == nil {
		// Order's own Try comes first and alone. Otherwise a quick refusal elsewhere could cancel order before its Try landed: the barrier would
		// take that for an empty rollback, and the order would stay CREATED while the shopper hears CANCELED.
		var holds bool
		if holds, err = f.try(global.LocalTryContext(deadline, f.own.id), o.ID); !holds {
			err = c.held(ctx, f, o.ID, gid, err)
		}
	} else {
		_, abandonErr := c.abandon(ctx, f, o.ID, gid)
		err = errors.Join(err, abandonErr)
	}
	if err != nil {
		c.abort(ctx, global, "order was not held: "+err.Error())
		return err
	}
	if err := f.passed(ctx, "order-tried"); err != nil {
		return err
	}
	if reason := c.tryOthers(deadline, f, global); reason != "" {
		return c.refuse(ctx, f, global, gid, reason)
	}
	if err := f.passed(ctx, "all-tried"); err != nil {
		return err
	}
	return c.submit(ctx, deadline, f, global)
}

// prepare opens the transaction. Order's branch is the first, so it is confirmed and canceled last. It never returns a nil transaction.
func (c *Checkout) prepare(ctx context.Context, f flow, o order.Order, gid string) (global *tcc.Transaction, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		global, err = c.coordinator.Prepare(ctx, gid, o.ID, c.times.TimeoutToFail, f.branches(o)...)
		return err
	})
	if err == nil {
		err = f.passed(ctx, "prepared")
	}
	return global, err
}

// held finds out whether gid holds the order after its own Try did not say so but answered tryErr, and abandons the attempt if it does not. It
// returns nil only when the row says so. ctx has no deadline: the deadline is for deciding, not for finding out.
func (c *Checkout) held(ctx context.Context, f flow, orderID, gid string, tryErr error) error {
	if tryErr == nil {
		// The barrier also returns nil for a Try that comes after its Cancel, when the coordinator timed out first.
		var state mysql.State
		err := c.call(ctx, func(ctx context.Context) (err error) {
			state, err = c.store.State(ctx, orderID)
			return err
		})
		if err == nil && state.GID == gid && state.Status == f.kind.Try().To {
			return nil
		}
		tryErr = errors.Join(errors.New("the Try answered, but the row is not held"), err)
	}
	held, err := c.abandon(ctx, f, orderID, gid)
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

// await returns when the order is settled, no attempt is open any more, or Wait is over. settled is closed when this process settles the order;
// because another one may do so, await also reads the row, of an order that was just driven to its decision after a pause only. It leaves the
// caller time to answer.
func (c *Checkout) await(ctx context.Context, f flow, orderID string, settled <-chan struct{}, driven bool) error {
	wait := c.times.Wait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)-time.Second)
	}
	timeout := time.After(wait)
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, 100*time.Millisecond) {
		if !driven {
			state, err := c.store.State(ctx, orderID)
			t := f.kind.Try()
			undecided := state.Status == t.To || state.Status == t.From && state.Busy
			if err != nil || !undecided {
				return err
			}
		}
		driven = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return nil
		case <-settled:
			return nil
		case <-time.After(pause):
		}
	}
}
