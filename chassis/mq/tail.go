package mq

import (
	"context"
	"sync"
)

// Tail is the transport's Tail, of the events that a service sent, each shown once.
func (b *Bus) Tail(ctx context.Context, v View, f func(context.Context, Event)) error {
	var shown recent // the transport shows one subject's events one after another, but others at the same time
	return b.transport.Tail(ctx, v, func(ctx context.Context, e Event) {
		// Only what is believed is remembered: a forgery must not hide the event that it pretends to be.
		if b.verified(v.Topic, Delivery{Event: e}).Broken == nil && shown.add(e.Source+"\x00"+e.ID) {
			f(ctx, e)
		}
	})
}

// recentKept is how many events are remembered: more than come between the two ways of one.
const recentKept = 4096

// recent remembers the last events.
type recent struct {
	mu    sync.Mutex
	known map[string]struct{}
	ring  []string
	next  int
}

// add reports whether id is new, and remembers it.
func (r *recent) add(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.known[id]; ok {
		return false
	}
	if r.known == nil {
		r.known, r.ring = map[string]struct{}{}, make([]string, recentKept)
	}
	delete(r.known, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % recentKept
	r.known[id] = struct{}{}
	return true
}
