package checkout

import (
	"context"
	"errors"
	"log/slog"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"golang.org/x/sync/errgroup"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/order"
)

// tryOthers runs the other Tries in parallel. It returns "" when all have succeeded, else the first refusal's reason, or PAYMENT_TIMEOUT when a
// Try is still unknown at ctx's deadline. An unknown Try is repeated, which the barrier makes harmless: a restart of a participant costs the
// shopper a second, not the order.
func (c *Checkout) tryOthers(ctx context.Context, f flow, global *tcc.Transaction) order.Reason {
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range f.others {
		group.Go(func() error {
			err := repeat(ctx, func() error {
				return c.call(ctx, func(ctx context.Context) error { return global.Try(ctx, b.conn, b.id) })
			})
			switch {
			case err == nil:
				return nil
			case tcc.Refused(err):
				return refusal{b.reason(err)}
			}
			slog.WarnContext(ctx, "try given up", "branch", b.id, "err", err)
			return refusal{order.PaymentTimeout}
		})
	}
	var r refusal
	if errors.As(group.Wait(), &r) {
		return r.reason
	}
	return ""
}

// refusal is the error that ends the group of Tries.
type refusal struct{ reason order.Reason }

func (r refusal) Error() string { return string(r.reason) }

// reason returns why the branch's Try refused with err.
func (b branch) reason(err error) order.Reason {
	r := order.Reason(kerrors.Reason(err))
	if _, known := b.Refusals[r]; known {
		return r
	}
	return b.Otherwise
}

// refuse records the reason and asks for the Cancels.
func (c *Checkout) refuse(ctx context.Context, f flow, global *tcc.Transaction, gid string, reason order.Reason) error {
	if err := f.passed(ctx, "refused"); err != nil {
		return err
	}
	err := c.call(ctx, func(ctx context.Context) error { return c.store.RecordReason(ctx, gid, reason) })
	if err != nil {
		// Cancel will write PAYMENT_TIMEOUT instead.
		slog.WarnContext(ctx, "reason not recorded", "reason", reason, "err", err)
	}
	if err := f.passed(ctx, "reason-recorded"); err != nil {
		return err
	}
	slog.InfoContext(ctx, "decided: abort", "kind", f.kind, "reason", reason)
	c.abort(ctx, global, string(reason))
	return f.passed(ctx, "aborted")
}

// submit asks for the Confirms, repeatedly while it is unknown whether the coordinator received the request: a restart of the coordinator or a
// lost answer costs the shopper a second, not the order. The last Submit is sent before the deadline and has the time of one call for its
// answer. The outcome is in the row.
func (c *Checkout) submit(ctx, deadline context.Context, f flow, global *tcc.Transaction) error {
	slog.InfoContext(ctx, "decided: submit", "kind", f.kind)
	err := repeat(deadline, func() error { return c.call(ctx, global.Submit) })
	switch {
	case tcc.Refused(err):
		slog.WarnContext(ctx, "submit refused: the transaction is being canceled, or the coordinator has lost it", "err", err)
	case err != nil:
		slog.WarnContext(ctx, "submit: outcome unknown, the row will tell", "err", err)
	}
	return f.passed(ctx, "submitted")
}

// abort asks for the Cancels. If the request is lost, the coordinator's time-out cancels instead.
func (c *Checkout) abort(ctx context.Context, global *tcc.Transaction, reason string) {
	err := c.call(ctx, func(ctx context.Context) error { return global.Abort(ctx, reason) })
	if err != nil {
		slog.WarnContext(ctx, "abort: outcome unknown, the time-out will cancel", "reason", reason, "err", err)
	}
}

// repeat makes call, and repeats it after growing pauses while its outcome is unknown and ctx has not ended. It returns what the last call
// returned: nil, a refusal, or the error that leaves the outcome unknown.
func repeat(ctx context.Context, call func() error) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := call()
		if err == nil || tcc.Refused(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
