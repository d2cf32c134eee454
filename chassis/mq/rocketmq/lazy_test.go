package rocketmq

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
)

// TestLazy: there is one start for all callers that need the client, and none waits longer than its context allows; after a failure there is no
// new start for a moment.
func TestLazy(t *testing.T) {
	t.Parallel()
	var starts, ends atomic.Int64
	let := make(chan error)
	l := lazy[int64]{start: func() (int64, error) { return starts.Add(1), <-let }, shutdown: func(int64) { ends.Add(1) }}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := l.get(short)
	require.ErrorIs(t, err, mq.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var wg sync.WaitGroup
	no := errors.New("no address")
	for range 10 {
		wg.Go(func() {
			_, err := l.get(t.Context())
			assert.ErrorIs(t, err, mq.ErrUnavailable)
			assert.ErrorIs(t, err, no)
		})
	}
	let <- no
	wg.Wait()
	_, err = l.get(t.Context())
	require.ErrorIs(t, err, no)
	assert.EqualValues(t, 1, starts.Load(), "a failure stands for a moment")

	l.at = time.Now().Add(-time.Hour)
	go func() { let <- nil }()
	for range 10 {
		client, err := l.get(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 2, client)
	}
	l.stop()
	l.stop()
	assert.EqualValues(t, 1, ends.Load())
	go func() { let <- nil }()
	client, err := l.get(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, client)
}
