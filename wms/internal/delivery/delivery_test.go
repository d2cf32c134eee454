package delivery_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/wms/internal/delivery"
)

// TestEveryStateAndEvent tests every pair: what the diagram shows is allowed, nothing else.
func TestEveryStateAndEvent(t *testing.T) {
	t.Parallel()
	legal := map[[2]string]delivery.Status{
		{"", "draft"}:            "UNKNOWN",
		{"UNKNOWN", "create"}:    "CREATED",
		{"UNKNOWN", "cancel"}:    "CANCELED",
		{"CREATED", "pick"}:      "PICKED",
		{"PICKED", "ship"}:       "SHIPPED",
		{"SHIPPED", "deliver"}:   "DELIVERED",
		{"CREATED", "hold"}:      "HELD",
		{"HELD", "confirm hold"}: "CANCELED",
		{"HELD", "cancel hold"}:  "CREATED",
	}
	for _, s := range []delivery.Status{"", "UNKNOWN", "CREATED", "CANCELED", "PICKED", "SHIPPED", "DELIVERED", "HELD"} {
		for _, e := range []delivery.Event{
			"draft", "create", "cancel", "pick", "ship", "deliver", "hold", "confirm hold", "cancel hold", "unheard of",
		} {
			got, err := s.On(e)
			if want, ok := legal[[2]string{string(s), string(e)}]; ok {
				require.NoError(t, err, "%s on %q", e, s)
				assert.Equal(t, want, got)
				assert.Equal(t, delivery.Transition{From: s, To: want}, e.Transition())
			} else {
				assert.ErrorIs(t, err, delivery.ErrIllegal, "%s on %q", e, s)
				assert.Equal(t, s, got)
			}
		}
	}
}

func TestNewSlipMergesAndKeepsTheSum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) delivery.Line {
			return delivery.Line{
				SKU:      rapid.StringMatching(`[a-dA-D]{1,2}`).Draw(t, "sku"),
				Quantity: rapid.Int32Range(1, 100_000).Draw(t, "quantity"),
			}
		}), 1, 20).Draw(t, "lines")
		want := map[string]int32{}
		for _, l := range lines {
			want[l.SKU] += l.Quantity
		}
		got, err := delivery.NewSlip("order-1", "1 Main Street", lines)
		require.NoError(t, err)
		for i, l := range got.Lines {
			assert.Equal(t, want[l.SKU], l.Quantity)
			if i > 0 {
				assert.Less(t, got.Lines[i-1].SKU, l.SKU)
			}
		}
		assert.Len(t, got.Lines, len(want))
	})
}

func TestNewSlipRejectsBadInput(t *testing.T) {
	t.Parallel()
	one := []delivery.Line{{"a", 1}}
	_, err := delivery.NewSlip("order-1", strings.Repeat("街", 500), one)
	require.NoError(t, err, "characters, not bytes")
	for _, bad := range []struct {
		order, address string
		lines          []delivery.Line
		names          string
	}{
		{"", "", one, "order_id"},
		{"order 1", "", one, "order_id"},
		{strings.Repeat("o", 65), "", one, "order_id"},
		{"order-1", strings.Repeat("街", 501), one, "address"},
		{"order-1", "", nil, "lines"},
		{"order-1", "", []delivery.Line{{"", 1}}, "sku"},
		{"order-1", "", []delivery.Line{{"é", 1}}, "sku"},
		{"order-1", "", []delivery.Line{{"a", 1}, {"a", 0}}, "quantity"},
		{"order-1", "", []delivery.Line{{"a", -1}}, "quantity"},
		{"order-1", "", []delivery.Line{{"a", math.MaxInt32}, {"a", 1}}, "quantity"},
	} {
		_, err := delivery.NewSlip(bad.order, bad.address, bad.lines)
		require.ErrorIs(t, err, delivery.ErrInvalid, "%+v", bad)
		assert.ErrorContains(t, err, bad.names)
	}
}
