// Package expiry closes orders that nobody paid in time and that their timer did not close. It is the backstop of mq.Timers.
package expiry

import (
	"context"
	"fmt"
	"time"

	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/order/internal/mysql"
)

// Sweep closes orders that are overdue by more than a timer takes. Several instances may run: an order is closed once.
type Sweep struct {
	store *mysql.Store
	every time.Duration
}

// New returns a Sweep of store that runs every so often.
func New(store *mysql.Store, every time.Duration) *Sweep { return &Sweep{store, every} }

// Run sweeps until ctx ends.
func (s *Sweep) Run(ctx context.Context) error {
	return loop.Every(s.every, patience, "expire orders", s.once)(ctx)
}

// patience bounds one sweep: a database that fell silent must not delay the next one. The next sweep takes up what is left.
const patience = 5 * time.Second

// overdue is how long a timer may take: the broker wakes it to the second, and the timers' own sweep looks 3 s later.
const overdue = 5 * time.Second

func (s *Sweep) once(ctx context.Context) error {
	ids, err := s.store.Expired(ctx, overdue, 500)
	if err != nil {
		return err
	}
	var failed error // one failed order does not keep the others open
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		if _, err := s.store.Expire(ctx, id); err != nil {
			failed = fmt.Errorf("order %s: %w", id, err)
		}
	}
	return failed
}
