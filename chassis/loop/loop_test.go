package loop_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/loop"
)

// TestEvery: the first call comes at once; neither an error nor a call that never ends by itself ends the work; ctx does.
func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var at []time.Duration
		work := loop.Every(10*time.Second, 3*time.Second, "look", func(ctx context.Context) error {
			at = append(at, time.Since(begin))
			switch len(at) {
			case 1:
				return errors.New("the database is away")
			case 2:
				<-ctx.Done() // silent
				return ctx.Err()
			case 4:
				cancel()
			}
			return nil
		})
		require.NoError(t, work(ctx))
		require.Len(t, at, 4)
		assert.Zero(t, at[0])
		for i, between := range [][2]time.Duration{{10 * time.Second, 11 * time.Second}, {13 * time.Second, 14 * time.Second},
			{10 * time.Second, 11 * time.Second}} {
			pause := at[i+1] - at[i]
			assert.GreaterOrEqual(t, pause, between[0], "pause %d", i)
			assert.LessOrEqual(t, pause, between[1], "pause %d", i)
		}
	})
}
