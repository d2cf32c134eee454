package tcc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/tcc"
)

// TestBarrierRetention: a configuration under which barrier rows would be deleted too early is refused.
func TestBarrierRetention(t *testing.T) {
	t.Parallel()
	for _, keep := range []time.Duration{0, tcc.MinKeepBarrier, 30 * 24 * time.Hour} {
		r, err := tcc.BarrierRetention(keep)
		require.NoError(t, err)
		assert.Equal(t, keep, r.Keep)
	}
	for _, keep := range []time.Duration{-1, 1, time.Hour, tcc.MinKeepBarrier - 1} {
		_, err := tcc.BarrierRetention(keep)
		assert.ErrorContains(t, err, "at least 168h", "%v", keep)
	}
}
