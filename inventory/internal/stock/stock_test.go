package stock_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/inventory/internal/stock"
)

// TestEveryStateAndEvent walks every pair: what the diagram shows is allowed, nothing else.
func TestEveryStateAndEvent(t *testing.T) {
	t.Parallel()
	legal := map[[2]string]stock.FreezeStatus{
		{"", "freeze"}:                  "FROZEN",
		{"FROZEN", "deduct"}:            "DEDUCTED",
		{"FROZEN", "release"}:           "RELEASED",
		{"DEDUCTED", "return"}:          "RETURNING",
		{"RETURNING", "confirm return"}: "RETURNED",
		{"RETURNING", "cancel return"}:  "DEDUCTED",
	}
	for _, s := range []stock.FreezeStatus{"", "FROZEN", "DEDUCTED", "RELEASED", "RETURNING", "RETURNED"} {
		for _, e := range []stock.Event{"freeze", "deduct", "release", "return", "confirm return", "cancel return", "unheard of"} {
			got, err := s.On(e)
			if want, ok := legal[[2]string{string(s), string(e)}]; ok {
				require.NoError(t, err, "%s on %q", e, s)
				assert.Equal(t, want, got)
				assert.Equal(t, stock.Transition{From: s, To: want}, e.Transition())
			} else {
				assert.ErrorIs(t, err, stock.ErrIllegal, "%s on %q", e, s)
				assert.Equal(t, s, got)
			}
		}
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
