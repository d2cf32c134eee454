package demo

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/local/stack"
)

// TestDemo has the numbers of the documentation, and does nothing twice.
func TestDemo(t *testing.T) {
	ctx := t.Context()
	s, err := stack.Up(ctx, stack.Options{Dir: t.TempDir(), RandomPorts: true, Faults: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Down(context.Background())) })
	seeded, err := s.Seed(ctx)
	require.NoError(t, err)
	for range 2 {
		_, err = Catalogue(ctx, s, seeded.Operator)
		require.NoError(t, err)
	}
	d, err := New(ctx, s, seeded)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })

	// As if a demo had been interrupted behind its order.
	o, err := d.order(ctx)
	require.NoError(t, err)
	file := filepath.Join(s.Dir(), "demo-table.json")
	data, err := json.Marshal(First{Order: o.ID})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, data, 0o600))

	first, again, err := d.First(ctx)
	require.NoError(t, err)
	assert.False(t, again)
	assert.Equal(t, o.ID, first.Paid.Order)
	assert.Equal(t, Numbers{"CREATED", 100, 0, 1190, 0, "none"}, first.Paid.Before)
	assert.Equal(t, Numbers{"UPDATING", 98, 2, 1190, 10, "UNKNOWN"}, first.Paid.Tried)
	assert.Equal(t, Numbers{"PAID", 98, 0, 1200, 0, "CREATED"}, first.Paid.After)
	assert.Equal(t, Numbers{"CREATED", 98, 0, 1200, 0, "none"}, first.Refused.Before)
	assert.Equal(t, Numbers{"UPDATING", 96, 2, 1200, 0, "UNKNOWN"}, first.Refused.Tried)
	assert.Equal(t, Numbers{"CANCELED", 98, 0, 1200, 0, "CANCELED"}, first.Refused.After)
	assert.Equal(t, "CREDIT_REFUSED", first.Refused.Reason)

	repeated, again, err := d.First(ctx)
	require.NoError(t, err)
	assert.True(t, again)
	assert.Equal(t, first.Paid.Order, repeated.Paid.Order)
	now, err := d.numbers(ctx, first.Paid.Order)
	require.NoError(t, err)
	assert.Equal(t, first.Paid.After, now, "paid again")

	t.Run("a refusal by somebody else", func(t *testing.T) {
		require.NoError(t, d.operator.do(ctx, http.MethodPut, "/v1/ops/warehouse", map[string]bool{"open": false}, nil))
		refused, err := d.Pay(ctx)
		require.NoError(t, err)
		assert.Equal(t, "DELIVERY_REFUSED", refused.Reason)
		require.NoError(t, d.operator.do(ctx, http.MethodPut, "/v1/ops/warehouse", map[string]bool{"open": true}, nil))
	})
	t.Run("one more", func(t *testing.T) {
		more, err := d.Pay(ctx)
		require.NoError(t, err)
		assert.Equal(t, Numbers{"PAID", 96, 0, 1210, 0, "CREATED"}, more.After)
		var text strings.Builder
		more.Write(&text, "A payment", false)
		assert.Contains(t, text.String(), "sellable            98           96           96\n")
		assert.Contains(t, text.String(), "PAID in ")
	})
	t.Run("the coordinator is down", func(t *testing.T) {
		require.NoError(t, s.Stop(ctx, "dtm"))
		_, err := d.Pay(ctx)
		require.ErrorIs(t, err, errNotHeld)
		require.ErrorContains(t, err, "503")
	})
}
