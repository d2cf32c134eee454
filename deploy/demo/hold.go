package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The points of the protocol where a transaction is held while its numbers are read: everything tried and nothing decided, or refused with
// nothing canceled yet.
var (
	paymentHolds = []string{"checkout/all-tried", "checkout/reason-recorded"}
	refundHolds  = []string{"refund/all-tried", "refund/reason-recorded"}
)

// lateCredit is the failpoint at which credit's Try begins.
const lateCredit = "credit/try"

// middle is what was seen of a transaction while it was held.
type middle struct {
	// Tried are the numbers while it was held.
	Tried Numbers `json:"after_try"`
	// Reason says why it was refused, else it is empty.
	Reason string `json:"reason"`
	// Took is how long the transaction took, without Held, the time for which it was held to read the numbers.
	Took time.Duration `json:"took_ns"`
	Held time.Duration `json:"held_ns"`
}

// hold posts to path, which opens a transaction of the order, reads the numbers while the transaction is held at one of points, lets it go on
// and waits until it is decided. A refusal is an outcome, not an error.
func (d *Demo) hold(ctx context.Context, orderID, path string, points []string) (m middle, o order, err error) {
	before, err := d.hits(ctx, points)
	if err != nil {
		return m, o, err
	}
	if err := d.setFaults(ctx, "order", "pause*1", points...); err != nil {
		return m, o, err
	}
	release := func(ctx context.Context) error { return d.setFaults(ctx, "order", "", points...) }
	defer func() {
		if err != nil {
			err = errors.Join(err, release(context.WithoutCancel(ctx)))
		}
	}()

	start := time.Now()
	ended := make(chan struct{})
	var callErr error
	go func() {
		defer close(ended)
		callErr = d.shopper.do(ctx, http.MethodPost, path, map[string]any{}, nil)
	}()
	if err := d.awaitHeld(ctx, points, before, ended); err != nil {
		<-ended
		return m, o, errors.Join(callErr, err)
	}
	held := time.Now()
	if m.Tried, err = d.numbers(ctx, orderID); err != nil {
		return m, o, err
	}
	released := time.Now()
	if err := release(ctx); err != nil {
		return m, o, err
	}
	<-ended
	var refused *refusal
	if callErr != nil && !answered(callErr, http.StatusConflict) {
		return m, o, callErr
	} else if errors.As(callErr, &refused) {
		m.Reason = refused.Reason
	}
	if o, err = d.shopper.settled(ctx, orderID); err != nil {
		return m, o, err
	}
	m.Took, m.Held = held.Sub(start)+time.Since(released), released.Sub(held)
	return m, o, nil
}

var errNoFaults = errors.New("this system runs without failpoints, at which a transaction is held to be read: `make demo`, or `FAULTS=1 make up`, " +
	"starts it anew with them, and the data stays")

// Holds returns an error for a system that cannot hold a transaction still, as Pay and Refund do.
func (d *Demo) Holds(ctx context.Context) error {
	_, err := d.hits(ctx, nil)
	if answered(err, http.StatusNotFound) {
		return errNoFaults
	}
	return err
}

// setFaults sets failpoints in each instance of a service over its admin port; an empty action clears them, which ends a pause.
func (d *Demo) setFaults(ctx context.Context, service, action string, points ...string) error {
	set := map[string]string{}
	for _, p := range points {
		set[p] = action
	}
	var errs []error
	for _, instance := range d.target.Instances(service) {
		admin := client{base: d.target.Admin[instance]}
		err := admin.do(ctx, http.MethodPut, "/faults", set, nil)
		if answered(err, http.StatusNotFound) {
			return errNoFaults
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("set failpoints of %s: %w", instance, err))
		}
	}
	return errors.Join(errs...)
}

// hits counts the transactions that were held at points, in all instances of order.
func (d *Demo) hits(ctx context.Context, points []string) (n int, err error) {
	for _, instance := range d.target.Instances("order") {
		var state struct {
			Hits map[string]int `json:"hits"`
		}
		admin := client{base: d.target.Admin[instance]}
		if err := admin.do(ctx, http.MethodGet, "/faults", nil, &state); err != nil {
			return 0, err
		}
		for _, p := range points {
			n += state.Hits[p]
		}
	}
	return n, nil
}

// errNotHeld is returned by awaitHeld for a transaction that ended before it could be held.
var errNotHeld = errors.New("the transaction ended before all Tries were made")

// awaitHeld waits until the number of held transactions exceeds before, or ended is closed.
func (d *Demo) awaitHeld(ctx context.Context, points []string, before int, ended <-chan struct{}) error {
	for {
		n, err := d.hits(ctx, points)
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
