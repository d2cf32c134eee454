package checkout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/rpc"
)

// TestFewHops counts the functions that a reader goes through from a call to the database.
func TestFewHops(t *testing.T) {
	t.Parallel()
	c := &coordinator{submit: func(int) (string, error) { return "confirm", nil }}
	initiator, store, db := initiator(t, c, checkout.Times{
		TimeoutToFail: 8 * time.Second, Deadline: 6 * time.Second, Call: 3 * time.Second, Wait: 10 * time.Second})
	orders := rpc.NewOrders(store, nil, initiator, idempotency.New(db), time.Hour, 0)
	ctx := identity.NewContext(t.Context(), identity.Caller{MemberID: "m", Role: accessv1.Shopper})
	ctx = service.WithIdempotencyKey(ctx, "k-1")

	get := mysqltest.Hops(func() {
		_, err := orders.GetOrder(ctx, &orderv1.GetOrderRequest{Id: "o"})
		require.NoError(t, err)
	})
	t.Log(strings.Join(get, " → "))
	assert.NotEmpty(t, get)
	assert.LessOrEqual(t, len(get), 6, "%q", get)

	pay := mysqltest.Hops(func() {
		o, err := orders.PayOrder(ctx, &orderv1.PayOrderRequest{Id: "o"})
		require.NoError(t, err)
		require.Equal(t, orderv1.Order_PAID, o.GetStatus())
	})
	t.Log(strings.Join(pay, " → "))
	assert.Contains(t, pay, "order/internal/payment.(*Payment).Try", "the longest way is that of order's own Try")
	assert.LessOrEqual(t, len(pay), 10, "%q", pay)
}
