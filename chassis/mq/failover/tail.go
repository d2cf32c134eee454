package failover

import (
	"context"
	"errors"
	"sync"

	"example.com/fourfold/chassis/mq"
)

// Tail implements mq.Transport: it looks at both ways, and shows once what came by both.
func (t *Transport) Tail(ctx context.Context, topic string, types []string, f func(context.Context, mq.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu     sync.Mutex
		shown  recent
		failed [2]error
		wg     sync.WaitGroup
	)
	show := func(ctx context.Context, e mq.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Type != typeProbe && shown.add(e.Source+"\x00"+e.ID) {
			f(ctx, e)
		}
	}
	wg.Go(func() { defer cancel(); failed[0] = t.queues.Tail(ctx, topic, types, show) })
	wg.Go(func() { defer cancel(); failed[1] = t.primary.Tail(ctx, topic, types, show) })
	wg.Wait()
	return errors.Join(failed[:]...)
}

// recentKept is how many events are remembered: more than come between the two ways of one.
const recentKept = 4096

// recent remembers the last events.
type recent struct {
	known map[string]struct{}
	ring  []string
	next  int
}

// add reports whether id is new, and remembers it.
func (r *recent) add(id string) bool {
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
