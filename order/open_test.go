package main

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	orderv1 "example.com/fourfold/api/order/v1"
)

// TestTooManyOpen: who has as many unpaid orders as open_orders gets no more, until one is paid or closed; the call that made the last one is
// answered as before however often it comes.
func TestTooManyOpen(t *testing.T) {
	t.Parallel()
	s := serveOrder(t, func(c *config) { c.OpenOrders = 1 })
	headers := s.headers(t)
	create := func() (*orderv1.Order, error) {
		return s.call(t, headers, orderv1.Orders_CreateOrder_FullMethodName, oneTea)
	}
	var (
		wg  sync.WaitGroup
		ids sync.Map
	)
	for range 20 {
		wg.Go(func() {
			o, err := create()
			assert.NoError(t, err, "one call, at the same time")
			ids.Store(o.GetId(), true)
		})
	}
	wg.Wait()
	made := 0
	var id string
	ids.Range(func(key, _ any) bool { made++; id = key.(string); return true })
	require.Equal(t, 1, made)

	_, err := s.try(t, orderv1.Orders_CreateOrder_FullMethodName, oneTea)
	require.True(t, orderv1.IsTooManyOpen(err), "%v", err)
	_, err = create()
	require.NoError(t, err, "answered as before")
	s.exec(t, "UPDATE orders SET status = 'UPDATING' WHERE id = ?", id)
	_, err = s.try(t, orderv1.Orders_CreateOrder_FullMethodName, oneTea)
	require.True(t, orderv1.IsTooManyOpen(err), "being paid is not paid: %v", err)
	s.exec(t, "UPDATE orders SET status = 'CREATED' WHERE id = ?", id)
	s.do(t, orderv1.Orders_CancelOrder_FullMethodName, &orderv1.CancelOrderRequest{Id: id})
	s.do(t, orderv1.Orders_CreateOrder_FullMethodName, oneTea)
}
