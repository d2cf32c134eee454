package stock_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/inventory/internal/stock"
)

// TestEveryEvent tests that each event goes the one way that the diagram shows.
func TestEveryEvent(t *testing.T) {
	t.Parallel()
	for event, want := range map[stock.Event]stock.Transition{
		"freeze":         {From: "", To: "FROZEN"},
		"deduct":         {From: "FROZEN", To: "DEDUCTED"},
		"release":        {From: "FROZEN", To: "RELEASED"},
		"return":         {From: "DEDUCTED", To: "RETURNING"},
		"confirm return": {From: "RETURNING", To: "RETURNED"},
		"cancel return":  {From: "RETURNING", To: "DEDUCTED"},
	} {
		assert.Equal(t, want, event.Transition(), "%s", event)
	}
}

func TestSortedMergesAndKeepsTheSum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) stock.Line {
			return stock.Line{
				SKU:      rapid.StringMatching(`[a-d]{1,2}`).Draw(t, "sku"),
				Quantity: rapid.Int64Range(1, math.MaxInt32).Draw(t, "quantity"),
			}
		}), 1, 20).Draw(t, "lines")
		want := map[string]int64{}
		for _, l := range lines {
			want[l.SKU] += l.Quantity
		}
		got, err := stock.Sorted(lines)
		require.NoError(t, err)
		for i, l := range got {
			assert.Equal(t, want[l.SKU], l.Quantity)
			if i > 0 {
				assert.Less(t, got[i-1].SKU, l.SKU)
			}
		}
		assert.Len(t, got, len(want))
	})
}

func TestSortedRefusesBadLines(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]stock.Line{nil, {{"", 1}}, {{"a", 0}}, {{"a", 1}, {"a", -1}}} {
		_, err := stock.Sorted(lines)
		assert.ErrorIs(t, err, stock.ErrLines, "%v", lines)
	}
}
