package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The points of the protocol where a payment is held still for its numbers to be read: everything tried and nothing decided, or
// refused with nothing canceled yet.
var holds = []string{"checkout/all-tried", "checkout/reason-recorded"}

// lateCredit is where credit's Try begins.
const lateCredit = "credit/try"

// setFaults sets failpoints of a service over its admin port; an empty action clears one, which ends a pause.
func (d *Demo) setFaults(ctx context.Context, service, action string, points ...string) error {
	set := map[string]string{}
	for _, p := range points {
		set[p] = action
	}
	admin := client{base: d.stack.Admin(service)}
	if err := admin.do(ctx, http.MethodPut, "/faults", set, nil); err != nil {
		return fmt.Errorf("set failpoints of %s: %w", service, err)
	}
	return nil
}

// hits counts the payments that were held.
func (d *Demo) hits(ctx context.Context) (n int, err error) {
	var state struct {
		Hits map[string]int `json:"hits"`
	}
	admin := client{base: d.stack.Admin("order")}
	err = admin.do(ctx, http.MethodGet, "/faults", nil, &state)
	for _, p := range holds {
		n += state.Hits[p]
	}
	return n, err
}

// errNotHeld is what awaitHeld returns for a payment that ended before it could be held.
var errNotHeld = errors.New("the payment ended before all Tries were made")

// awaitHeld waits until more than before payments were held, or ended is closed.
func (d *Demo) awaitHeld(ctx context.Context, before int, ended <-chan struct{}) error {
	for {
		n, err := d.hits(ctx)
		if err != nil || n > before {
			return err
		}
		select {
		case <-ended:
			return errNotHeld
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}
