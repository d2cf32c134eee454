package stack

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/generation"
	"example.com/fourfold/deploy/system"
)

// requireGenerations begins generations in a running stack: each service that numbers its events has them, and no other; the instances run on or
// again whatever happens.
func requireGenerations(t *testing.T, s *Stack) {
	t.Helper()
	ctx := t.Context()
	for _, service := range system.Databases() {
		_, err := s.Run(ctx, service, "generation")
		if _, refused := generation.Of(ctx, s, service); refused != nil {
			require.ErrorContains(t, refused, service+" does not number its events, so it has no generation: SERVICE is one of order, inventory, wms")
			require.ErrorContains(t, err, `there is no command "generation"`)
		} else {
			require.NoError(t, err, service)
		}
	}
	for _, unknown := range []string{"", "gateway", "mariadb", "orders", "order-2"} {
		for _, of := range []func(context.Context, generation.System, string) (string, error){generation.Of, generation.Begin} {
			_, err := of(ctx, s, unknown)
			require.ErrorContains(t, err, "there is no service \""+unknown+"\": SERVICE is one of order, inventory, wms")
		}
	}

	before, err := s.PID(ctx, "inventory")
	require.NoError(t, err)
	of, err := generation.Of(ctx, s, "inventory")
	require.NoError(t, err)
	assert.Empty(t, of, "the first")
	same, err := s.PID(ctx, "inventory")
	require.NoError(t, err)
	assert.Equal(t, before, same, "to look stops nothing")

	begun, err := generation.Begin(ctx, s, "inventory")
	require.NoError(t, err)
	assert.NotEmpty(t, begun)
	require.NoError(t, s.Health(ctx, "inventory"))
	after, err := s.PID(ctx, "inventory")
	require.NoError(t, err)
	assert.NotEqual(t, before, after, "a running instance would go on in the generation in which it began")
	of, err = generation.Of(ctx, s, "inventory")
	require.NoError(t, err)
	assert.Equal(t, begun, of)

	// Somebody else works on the database.
	conn, err := openDB(t, s.DSN("shop_inventory")).Conn(ctx)
	require.NoError(t, err)
	_, err = generation.Begin(ctx, s, "inventory")
	require.ErrorContains(t, err, "the database is in use: 1 other connection(s)")
	require.NoError(t, conn.Close())
	require.NoError(t, s.Health(ctx, "inventory"), "it was started all the same")
	of, err = generation.Of(ctx, s, "inventory")
	require.NoError(t, err)
	assert.Equal(t, begun, of)
}
