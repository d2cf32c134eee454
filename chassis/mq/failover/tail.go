package failover

import (
	"context"
	"errors"
	"sync"

	"example.com/fourfold/chassis/mq"
)

// Tail implements mq.Transport: it looks at both ways, and may show twice what came by both.
func (t *Transport) Tail(ctx context.Context, v mq.View, f func(context.Context, mq.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu     sync.Mutex
		failed [2]error
		wg     sync.WaitGroup
	)
	show := func(ctx context.Context, e mq.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Type != typeProbe {
			f(ctx, e)
		}
	}
	wg.Go(func() { defer cancel(); failed[0] = t.queues.Tail(ctx, v, show) })
	wg.Go(func() { defer cancel(); failed[1] = t.primary.Tail(ctx, v, show) })
	wg.Wait()
	return errors.Join(failed[:]...)
}
