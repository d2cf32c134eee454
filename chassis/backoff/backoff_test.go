package backoff_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/fourfold/chassis/backoff"
)

func TestPause(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		times int
		least time.Duration
	}{
		{-1, 100 * time.Millisecond}, {0, 100 * time.Millisecond}, {1, 100 * time.Millisecond}, {2, 200 * time.Millisecond},
		{4, 800 * time.Millisecond}, {6, 2 * time.Second}, {63, 2 * time.Second}, {1 << 40, 2 * time.Second},
	} {
		for range 100 {
			d := backoff.Pause(c.times, 100*time.Millisecond, 2*time.Second)
			assert.GreaterOrEqual(t, d, c.least, c.times)
			assert.LessOrEqual(t, d, c.least*5/4, c.times)
		}
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	start := time.Now()
	backoff.Sleep(ctx, time.Hour)
	assert.Less(t, time.Since(start), time.Minute)
}
