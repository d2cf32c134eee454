package order_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/order/internal/order"
)

// TestEveryEvent tests that each event goes the one way that the diagram shows.
func TestEveryEvent(t *testing.T) {
	t.Parallel()
	for event, want := range map[order.Event]order.Transition{
		"begin payment":   {From: "CREATED", To: "UPDATING"},
		"confirm payment": {From: "UPDATING", To: "PAID"},
		"cancel payment":  {From: "UPDATING", To: "CANCELED"},
		"close":           {From: "CREATED", To: "CANCELED"},
		"ship":            {From: "PAID", To: "SHIPPED"},
		"complete":        {From: "SHIPPED", To: "COMPLETED"},
		"begin refund":    {From: "PAID", To: "REFUNDING"},
		"confirm refund":  {From: "REFUNDING", To: "REFUNDED"},
		"cancel refund":   {From: "REFUNDING", To: "PAID"},
	} {
		assert.Equal(t, want, event.Transition(), "%s", event)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	got, err := order.Merge([]order.Line{{SKU: "b", Quantity: 1}, {SKU: "a", Quantity: 2}, {SKU: "b", Quantity: 3}})
	require.NoError(t, err)
	assert.Equal(t, []order.Line{{SKU: "a", Quantity: 2}, {SKU: "b", Quantity: 4}}, got)
	for name, lines := range map[string][]order.Line{
		"none":          nil,
		"no sku":        {{Quantity: 1}},
		"zero":          {{SKU: "a"}},
		"negative":      {{SKU: "a", Quantity: -1}},
		"hides a minus": {{SKU: "a", Quantity: 5}, {SKU: "a", Quantity: -1}},
		"too many":      {{SKU: "a", Quantity: order.MaxQuantity}, {SKU: "a", Quantity: 1}},
	} {
		_, err := order.Merge(lines)
		assert.ErrorIs(t, err, order.ErrInvalid, name)
	}
}

// TestNewNeverOverflows tests that the total is the exact sum, or the order is refused.
func TestNewNeverOverflows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order.Line {
			return order.Line{
				SKU:        "a",
				PriceCents: rapid.Int64Range(1, 1<<62).Draw(t, "price"),
				Quantity:   rapid.Int64Range(1, order.MaxQuantity).Draw(t, "quantity"),
			}
		}), 1, 5).Draw(t, "lines")
		exact := 0.0
		for _, l := range lines {
			exact += float64(l.PriceCents) * float64(l.Quantity)
		}
		o, err := order.New("id", "m", "", lines)
		if err != nil {
			assert.Greater(t, exact, 0.99*order.MaxTotalCents)
			return
		}
		assert.InEpsilon(t, exact, float64(o.TotalCents), 1e-9)
		assert.Equal(t, o.TotalCents/100, o.Points)
	})
}

func TestPointsAreWholeUnits(t *testing.T) {
	t.Parallel()
	for cents, points := range map[int64]int64{1: 0, 99: 0, 100: 1, 199: 1, 1000: 10} {
		o, err := order.New("id", "m", "", []order.Line{{SKU: "a", PriceCents: cents, Quantity: 1}})
		require.NoError(t, err)
		assert.Equal(t, points, o.Points, "%d cents", cents)
	}
}
