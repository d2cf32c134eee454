package rocketmq

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestUnwatched: while nobody watches the ends of the queues are read seldom, and at the first look after somebody does.
func TestUnwatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		waits := func(watched func() bool) time.Duration {
			began := time.Now()
			awaitWatcher(t.Context(), watched)
			return time.Since(began)
		}
		assert.Equal(t, tailEvery, waits(nil))
		assert.Equal(t, tailEvery, waits(func() bool { return true }))
		assert.Equal(t, unwatchedEvery, waits(func() bool { return false }))
		assert.Equal(t, 3*tailEvery, waits(func() bool { looks++; return looks == 3 }), "somebody comes meanwhile")
	})
}
