package stack

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/redistest"
)

// TestHealthOfRedis: each of the two servers is asked itself.
func TestHealthOfRedis(t *testing.T) {
	t.Parallel()
	limits, queues := redistest.Start(t), redistest.Start(t)
	port := func(s *redistest.Server) string { return strings.TrimPrefix(s.Addr, here+":") }
	s := &Stack{vars: map[string]string{"PORT_REDIS": port(limits), "PORT_QUEUES": port(queues)}}
	for name, server := range map[string]*redistest.Server{"redis": limits, "queues": queues} {
		require.NoError(t, s.Health(t.Context(), name))
		server.Stop()
		require.ErrorContains(t, s.Health(t.Context(), name), "refused")
		server.Restart(t)
	}
	queues.Freeze(t)
	require.ErrorContains(t, s.Health(t.Context(), "queues"), "timeout")
	assert.NoError(t, s.Health(t.Context(), "redis"))
}
