// Package reconcile checks that the books of order and of all participants add up.
//
// Each service checks its own rules against its own database. What each says about an order is then compared with what order says: by digests
// first, and row by row where these differ.
//
//   - PAID or later always means sold, credited and to be delivered: order is confirmed last and taken back first.
//   - The converse is judged only for rows that have not changed for a while, because the others are confirmed before order.
//   - The order follows its parcel: it is never ahead of the slip, and behind it only for a while, because events travel.
//
// Orders are read first, the others after. A payment or refund may have gone on in between, so nothing is reported before both sides are read
// again, this time the others first: what order says about a suspect is then known before and after.
package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/order/internal/mysql"
)

// Comparator checks the books. It makes one check at a time; further callers wait.
type Comparator struct {
	store *mysql.Store
	peers []Peer
	turn  chan struct{}
}

// New returns a Comparator of store and the books of peers.
func New(store *mysql.Store, peers ...Peer) *Comparator {
	return &Comparator{store, peers, make(chan struct{}, 1)}
}

// Report is the result of a check.
type Report struct {
	Checks []ledger.Check
	Took   time.Duration
}

// OK reports whether every rule holds.
func (r Report) OK() bool {
	for _, c := range r.Checks {
		if len(c.Violations) > 0 {
			return false
		}
	}
	return true
}

// Silent is the error when a service does not answer. Nothing is known about the books then.
type Silent struct {
	Service string
	Err     error
}

func (s Silent) Error() string { return s.Service + " does not answer: " + s.Err.Error() }

// Unwrap returns the reason.
func (s Silent) Unwrap() error { return s.Err }

// Run checks everything as it is now. A transaction that has been under way for at least open (whole seconds, at least 1) is a violation. An
// error means that not everything could be checked, so there is no report; it is a Silent if another service did not answer.
func (c *Comparator) Run(ctx context.Context, open time.Duration) (Report, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return Report{}, fmt.Errorf("wait for the check that is under way: %w", ctx.Err())
	}
	start := time.Now()

	// Orders first. The other services' own rules do not concern orders, so they are checked at the same time.
	var ours own
	theirs, between := make([][]ledger.Check, len(c.peers)), make([][]ledger.Check, len(c.peers))
	group, at := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		ours, err = c.own(at, open)
		return err
	})
	for i, p := range c.peers {
		group.Go(func() (err error) {
			theirs[i], err = p.Ledger.Check(at, open)
			return p.silent(err)
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}

	group, at = errgroup.WithContext(ctx)
	for i, p := range c.peers {
		group.Go(func() (err error) {
			between[i], err = c.compare(at, p, &ours.digests[i], ours.settled, open)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}

	report := Report{Checks: ours.checks}
	for _, checks := range slices.Concat(theirs, between) {
		report.Checks = append(report.Checks, checks...)
	}
	report.Took = time.Since(start)
	return report, nil
}
