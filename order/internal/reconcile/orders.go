package reconcile

import (
	"context"
	"sync"
	"time"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/order/internal/order"
)

// own is what order's own database says.
type own struct {
	checks []ledger.Check
	// settled is how many orders are PAID or later.
	settled int64
	// digests are what each peer's digest should be.
	digests []ledger.Digest
}

// own reads all orders.
func (c *Comparator) own(ctx context.Context, open time.Duration) (own, error) {
	attempts := ledger.Check{Name: "order: attempts fit the order's status"}
	events := ledger.Check{Name: "order: events are numbered without gaps"}
	all := own{digests: make([]ledger.Digest, len(c.peers))}
	var mu sync.Mutex
	err := c.store.Scan(ctx, func(records []order.Record) {
		part := own{digests: make([]ledger.Digest, len(c.peers))}
		for _, r := range records {
			if r.Status.Settled() {
				part.settled++
			}
			// A refund that is under way may have taken back what it has to, or not.
			if r.Status.Settled() || r.Status == order.Refunding {
				for i, p := range c.peers {
					for _, fact := range p.Facts(r) {
						part.digests[i].Add(r.ID, fact)
					}
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records {
			if !r.AttemptsFit() {
				attempts.Violate("order %s: %s, gid %q, %s", r.ID, standing(r.Status), r.GID, r.AttemptsText())
			}
			if !r.EventsFit() {
				events.Violate("order %s: %s, counted %d, in the log %d, the last number is %d",
					r.ID, standing(r.Status), r.EventSeq, r.Events, r.LastEvent)
			}
		}
		attempts.Checked += int64(len(records))
		events.Checked += int64(len(records))
		all.settled += part.settled
		for i := range part.digests {
			all.digests[i].Merge(&part.digests[i])
		}
	})
	if err != nil {
		return own{}, err
	}
	staleOrders, staleAttempts, err := c.store.Stale(ctx, open)
	if err != nil {
		return own{}, err
	}
	all.checks = []ledger.Check{attempts, events, staleOrders, staleAttempts}
	return all, nil
}

// standing returns the status as a text for people.
func standing(s order.Status) string {
	if s == "" {
		return "no such order"
	}
	return string(s)
}
