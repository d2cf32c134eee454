package service

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheWatcherEnds: Kratos' loop ends on this error only, after any other it asks again every second.
func TestTheWatcherEnds(t *testing.T) {
	t.Parallel()
	w, err := yaml("a: 1").Watch()
	require.NoError(t, err)
	require.NoError(t, w.Stop())
	_, err = w.Next()
	require.ErrorIs(t, err, context.Canceled)
}
