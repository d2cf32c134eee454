// Package backoff says how long to wait before the next try.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause returns how long to wait after so many failures: first after one, doubled with each further one up to most, plus up to a quarter at
// random, so that many callers do not come at once.
func Pause(times int, first, most time.Duration) time.Duration {
	d := first << min(max(times-1, 0), 20)
	if d > most || d <= 0 {
		d = most
	}
	return d + rand.N(d/4+1)
}

// Sleep waits for d, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
