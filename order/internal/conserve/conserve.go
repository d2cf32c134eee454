// Package conserve checks that the books of order and of all participants add up.
//
// Each service holds its own rules against its own database. What one service says about an order is then compared with what
// order says: by digests first, and where these differ row by row.
//
//   - PAID or later means sold, credited and to be delivered, always: order is confirmed last and taken back first.
//   - The converse is judged only of rows that have not changed for a while: before order is confirmed, the others are.
//
// Orders are read first, the others after. A payment or a refund may have gone on in between, so nothing is accused before both
// sides are read again, the others first this time: what order says of a suspect before and after is then known.
package conserve

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/fourfold/chassis/books"
	"example.com/fourfold/order/internal/mysql"
)

// Comparator checks the books. It makes one check at a time; further callers wait.
type Comparator struct {
	store *mysql.Store
	peers []Peer
	turn  chan struct{}
}

// New compares store with the books of peers.
func New(store *mysql.Store, peers ...Peer) *Comparator {
	return &Comparator{store, peers, make(chan struct{}, 1)}
}

// Report is what a check found.
type Report struct {
	Checks []books.Check
	Took   time.Duration
}

// OK tells that every rule holds.
func (r Report) OK() bool {
	for _, c := range r.Checks {
		if len(c.Violations) > 0 {
			return false
		}
	}
	return true
}

// Silent is the error when a service does not answer: then nothing is known about the books.
type Silent struct {
	Service string
	Err     error
}

func (s Silent) Error() string { return s.Service + " does not answer: " + s.Err.Error() }

// Unwrap gives why.
func (s Silent) Unwrap() error { return s.Err }

// Run checks everything as it is now. What has been on its way for at least open (whole seconds, at least 1) is a violation.
// An error, Silent if it is another service's, means that not everything could be checked; there is no report then.
func (c *Comparator) Run(ctx context.Context, open time.Duration) (Report, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return Report{}, fmt.Errorf("wait for the check that is under way: %w", ctx.Err())
	}
	start := time.Now()

	// Orders first. The others' own rules do not touch those, so they are checked in the same time.
	var ours own
	theirs, between := make([][]books.Check, len(c.peers)), make([][]books.Check, len(c.peers))
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
