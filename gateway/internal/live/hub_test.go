package live

import (
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStreamsOfOneAddress: an address, however many members it has, leaves room for others; a bound of 0 is none.
func TestStreamsOfOneAddress(t *testing.T) {
	t.Parallel()
	h := NewHub(Config{PerMember: 2, PerAddress: 3})
	var open []*watcher
	for _, member := range []string{"1", "2", "3"} {
		w, err := h.watch("o1", member, "192.0.2.1")
		require.NoError(t, err)
		open = append(open, w)
	}
	_, err := h.watch("o1", "4", "192.0.2.1")
	assert.EqualValues(t, 429, kerrors.Code(err))
	for range 2 {
		_, err = h.watch("o1", "5", "192.0.2.2")
		require.NoError(t, err)
	}
	open[0].close()
	_, err = h.watch("o1", "4", "192.0.2.1")
	require.NoError(t, err)
	free := NewHub(Config{})
	for range 2000 {
		_, err = free.watch("o1", "1", "192.0.2.1")
		require.NoError(t, err)
	}
}
