package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCost counts what a payment costs, in numbers that hardly depend on the machine's speed. The bounds are a little above what was counted
// last (docs/performance.md), with more room where batches are smaller on a busy machine: a payment that costs more does something
// that it did not do before. Lower a bound with what it bounds.
func TestCost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir, err := temporary()
	require.NoError(t, err)
	b := bench{counted: 200, at: []int{64}}
	b.shop, err = openShop(ctx, dir, 100, members, nil, nil)
	if b.shop != nil {
		t.Cleanup(func() { assert.NoError(t, b.shop.close()) })
	}
	require.NoError(t, err)
	require.NoError(t, b.durable(ctx))
	require.NoError(t, countCommits(ctx, b.shop.root))

	require.NoError(t, b.shop.quiet(ctx))
	columns, err := b.eachCosts(ctx, 5*time.Second, 1, 64)
	require.NoError(t, err)
	require.NoError(t, b.shop.books(ctx))
	for i, bounds := range []cost{
		{statements: 130},
		{calls: 11, commits: 20, statements: 110, trips: 57, received: 26_000, sent: 24_000},
		{calls: 11, commits: 13, statements: 60, trips: 30, received: 11_000, sent: 18_000},
	} {
		for name, bound := range bounds {
			counted := columns[i].cost[name]
			t.Logf("%s: %.1f %s", columns[i].title, counted, name)
			assert.LessOrEqual(t, counted, bound, "%s: %s", columns[i].title, name)
			assert.Greater(t, counted, bound/4, "%s: %s: is it counted?", columns[i].title, name)
		}
	}
}
