package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stockOf returns "sellable frozen sold".
func stockOf(t testing.TB, sku string) string {
	t.Helper()
	b := operator.must(t, 200, "GET", "/v1/ops/products/"+sku+"/stock", nil).Body
	return fmt.Sprint(b.Sellable, b.Frozen, b.Sold)
}

// creditOf returns "credit prepare_add_credit".
func creditOf(t testing.TB, c *client) string {
	t.Helper()
	b := c.must(t, 200, "GET", "/v1/members/me/credit", nil).Body
	return fmt.Sprint(b.Credit, " ", b.PrepareAdd)
}

// slipOf returns the status of the order's slip as warehouse staff see it.
func slipOf(t testing.TB, id string) string {
	t.Helper()
	d := operator.must(t, 200, "GET", "/v1/ops/deliveries?order_id="+id, nil).Body.Deliveries
	if len(d) == 0 {
		return "none"
	}
	return d[0].Status
}

// TestTheNumbers pays an order of 2 × 5.00 and reads every number before, between Try and Confirm, and after.
func TestTheNumbers(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	require.Equal(t, "100 0 0", stockOf(t, sku))
	require.Equal(t, "0 0", creditOf(t, c))
	require.Equal(t, "none", slipOf(t, id))

	hit := fault(t, "checkout/all-tried", "pause")
	paid := make(chan answer, 1)
	go func() {
		a, _ := c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil)
		paid <- a
	}()
	hit()
	assert.Equal(t, "UPDATING", c.must(t, 200, "GET", "/v1/orders/"+id, nil).Body.Status)
	assert.Equal(t, "98 2 0", stockOf(t, sku))
	assert.Equal(t, "0 10", creditOf(t, c), "prepared points are not spendable")
	assert.Equal(t, "none", slipOf(t, id), "warehouse staff never see an UNKNOWN slip")
	assert.Equal(t, "UPDATING | 2 FROZEN | 10 PREPARED | UNKNOWN | OPEN", footprint(t, id))
	require.NoError(t, setFault(t.Context(), "checkout/all-tried", ""))

	a := <-paid
	require.Equal(t, 200, a.code, a.raw)
	require.Equal(t, "PAID", a.Body.Status)
	assert.Equal(t, "98 0 2", stockOf(t, sku))
	assert.Equal(t, "10 0", creditOf(t, c))
	assert.Equal(t, "CREATED", slipOf(t, id))
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE", footprint(t, id))
	requireBooks(t)
}

// TestCreditRefuses: an operator froze the account; all that was tried is released.
func TestCreditRefuses(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	me := c.must(t, 200, "GET", "/v1/members/me", nil).Body.MemberID
	operator.must(t, 200, "PUT", "/v1/ops/members/"+me+"/credit", map[string]any{"frozen": true})
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	a := c.pay(t, id)
	require.Equal(t, 409, a.code, a.raw)
	require.Equal(t, "CREDIT_REFUSED", a.Body.Reason)
	requireCanceled(t, c, id, "CREDIT_REFUSED")
	assert.Equal(t, "100 0 0", stockOf(t, sku))
	assert.Equal(t, "0 0", creditOf(t, c))

	operator.must(t, 200, "PUT", "/v1/ops/members/"+me+"/credit", map[string]any{"frozen": false})
	require.Equal(t, 200, c.pay(t, c.order(t, sku, 2)).code, "thawed, the next order is paid")
	require.Equal(t, 409, c.pay(t, id).code, "the canceled one stays canceled")
}

// TestInventoryRefuses: there is nothing in stock.
func TestInventoryRefuses(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 0)
	id := c.order(t, sku, 1)
	a := c.pay(t, id)
	require.Equal(t, 409, a.code, a.raw)
	require.Equal(t, "STOCK_NOT_ENOUGH", a.Body.Reason)
	requireCanceled(t, c, id, "STOCK_NOT_ENOUGH")
	assert.Equal(t, "0 0 0", stockOf(t, sku))
	assert.Equal(t, "0 0", creditOf(t, c))
}

// TestWarehouseRefuses: an operator closed the warehouse.
func TestWarehouseRefuses(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	operator.must(t, 200, "PUT", "/v1/ops/warehouse", map[string]any{"open": false})
	t.Cleanup(func() {
		_, err := operator.try(context.Background(), "PUT", "/v1/ops/warehouse", map[string]any{"open": true})
		assert.NoError(t, err)
	})
	a := c.pay(t, id)
	require.Equal(t, 409, a.code, a.raw)
	require.Equal(t, "DELIVERY_REFUSED", a.Body.Reason)
	requireCanceled(t, c, id, "DELIVERY_REFUSED")
	assert.Equal(t, "100 0 0", stockOf(t, sku))
	assert.Equal(t, "0 0", creditOf(t, c))
	requireBooks(t)
}

// requireCanceled requires that the order is CANCELED with reason, and that nothing is held anywhere. A participant that refused has no row at
// all.
func requireCanceled(t testing.TB, c *client, id, reason string) {
	t.Helper()
	require.Equal(t, reason, c.settled(t, id, "CANCELED").Body.Reason)
	assert.Regexp(t, `^CANCELED `+reason+` \| (\d+ RELEASED)? \| (\d+ CANCELED)? \| (CANCELED)? \| (ABANDONED,)*DONE$`, footprint(t, id))
}

// TestTwentyPayAtOnce: 20 concurrent payments of one order make one transaction, one slip and one outcome for all.
func TestTwentyPayAtOnce(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	answers := make([]answer, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], _ = c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil) })
	}
	wg.Wait()
	for _, a := range answers {
		// 202 is right while the outcome is unknown; no answer may give another outcome.
		require.Contains(t, []int{200, 202}, a.code, a.raw)
	}
	c.settled(t, id, "PAID")
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE", footprint(t, id))
	assert.Equal(t, "98 0 2", stockOf(t, sku))
	assert.Equal(t, "10 0", creditOf(t, c))
	assert.Equal(t, 200, c.pay(t, id).code, "paying again tells the same")
	assert.Equal(t, "98 0 2", stockOf(t, sku))
}

// TestOrderIsTriedFirst: while order's own Try takes 2 s, no other Try starts.
func TestOrderIsTriedFirst(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	hit := fault(t, "payment/try", "delay(2s)*1")
	paid := make(chan answer, 1)
	go func() {
		a, _ := c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil)
		paid <- a
	}()
	hit()
	gid := one(t, db(t, "shop_order"), "SELECT gid FROM payment_attempt WHERE order_id = ?", id)
	require.NotEmpty(t, gid)
	looks := 0
	for one(t, db(t, "shop_order"), "SELECT status FROM orders WHERE id = ?", id) == "CREATED" && len(paid) == 0 {
		for _, name := range participants {
			tried := one(t, db(t, "shop_"+name), "SELECT COUNT(*) FROM barrier WHERE gid = ? AND op = 'try'", gid)
			// Read again: order's Try may have been committed between the two queries.
			if one(t, db(t, "shop_order"), "SELECT status FROM orders WHERE id = ?", id) == "CREATED" {
				require.Equal(t, "0", tried, "%s was tried before order", name)
				looks++
			}
		}
	}
	require.Greater(t, looks, 10)
	a := <-paid
	require.Equal(t, 200, a.code, a.raw)
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE", footprint(t, id))
}

// TestCancelBeforePayment: a canceled order cannot be paid any more.
func TestCancelBeforePayment(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 10)
	id := c.order(t, sku, 1)
	require.Equal(t, "CANCELED", c.must(t, 200, "POST", "/v1/orders/"+id+"/cancel", nil).Body.Status)
	require.Equal(t, "BY_MEMBER", c.must(t, 200, "POST", "/v1/orders/"+id+"/cancel", nil).Body.Reason)
	a := c.pay(t, id)
	require.Equal(t, 409, a.code, a.raw)
	require.Equal(t, "BY_MEMBER", a.Body.Reason)
	require.Equal(t, "10 0 0", stockOf(t, sku))

	paid := c.order(t, sku, 1)
	require.Equal(t, 200, c.pay(t, paid).code)
	require.Equal(t, 409, c.must(t, 409, "POST", "/v1/orders/"+paid+"/cancel", nil).code)
}

// TestLinesOfTheSameProduct: they are merged into one line, priced by the server.
func TestLinesOfTheSameProduct(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	a, b := product(t, 250, 10), product(t, 199, 10)
	made := c.must(t, 201, "POST", "/v1/orders", map[string]any{"lines": []any{
		map[string]any{"sku": b, "quantity": 1}, map[string]any{"sku": a, "quantity": 2}, map[string]any{"sku": b, "quantity": 2},
	}}).Body
	require.Len(t, made.Lines, 2)
	require.EqualValues(t, 2*250+3*199, made.TotalCents)
	require.Equal(t, 200, c.pay(t, made.ID).code)
	assert.Equal(t, "8 0 2", stockOf(t, a))
	assert.Equal(t, "7 0 3", stockOf(t, b))
	assert.Equal(t, "10 0", creditOf(t, c), "10.97 is 10 points")
}

// TestSomebodyElsesOrder: another member's order does not exist, for every call.
func TestSomebodyElsesOrder(t *testing.T) {
	t.Parallel()
	mine, other := shopper(t), shopper(t)
	id := mine.order(t, product(t, 500, 10), 1)
	other.must(t, 404, "GET", "/v1/orders/"+id, nil)
	other.must(t, 404, "POST", "/v1/orders/"+id+"/pay", nil)
	other.must(t, 404, "POST", "/v1/orders/"+id+"/cancel", nil)
	other.must(t, 404, "POST", "/v1/orders/"+id+"/refund", nil)
	anonymous().must(t, 401, "GET", "/v1/orders/"+id, nil)
	other.must(t, 403, "GET", "/v1/ops/deliveries", nil)
	require.Equal(t, 200, mine.pay(t, id).code)
}

// TestReceiveStockOnce: twenty calls at once with one key book the goods once and get the same answer; without a key, or with one that was used
// for another quantity, nothing is booked.
func TestReceiveStockOnce(t *testing.T) {
	t.Parallel()
	sku := product(t, 500, 0)
	receive := func(key string, quantity int) answer {
		a, err := operator.keyed(t.Context(), "POST", "/v1/ops/products/"+sku+"/stock", key, map[string]any{"quantity": quantity})
		assert.NoError(t, err)
		return a
	}
	answers := make([]answer, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = receive("note-7", 100) })
	}
	wg.Wait()
	for _, a := range answers {
		require.Equal(t, 200, a.code, a.raw)
		require.Equal(t, answers[0].raw, a.raw)
		require.EqualValues(t, 100, a.Body.Received)
	}
	other := receive("note-7", 99)
	require.Equal(t, "422 IDEMPOTENCY_KEY_REUSED", fmt.Sprint(other.code, " ", other.Body.Reason), other.raw)
	missing := receive("", 100)
	require.Equal(t, "400 IDEMPOTENCY_KEY", fmt.Sprint(missing.code, " ", missing.Body.Reason), missing.raw)
	require.Equal(t, "100 0 0", stockOf(t, sku))
}

// TestIdempotencyKey: a repeated key returns the same answer, and only for the same request.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 100)
	body := func(n int) any { return map[string]any{"lines": []any{map[string]any{"sku": sku, "quantity": n}}} }

	answers := make([]answer, 10)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], _ = c.keyed(t.Context(), "POST", "/v1/orders", "same", body(2)) })
	}
	wg.Wait()
	for _, a := range answers {
		require.Equal(t, 201, a.code, a.raw)
		require.Equal(t, answers[0].raw, a.raw, "the same answer, to the letter")
	}
	id := answers[0].Body.ID
	require.Equal(t, "1", one(t, db(t, "shop_order"), "SELECT COUNT(*) FROM orders WHERE member_id = ?", answers[0].Body.MemberID))

	other, err := c.keyed(t.Context(), "POST", "/v1/orders", "same", body(3))
	require.NoError(t, err)
	require.Equal(t, 422, other.code, other.raw)
	require.Equal(t, "IDEMPOTENCY_KEY_REUSED", other.Body.Reason)
	for _, path := range []string{"/v1/orders", "/v1/orders/" + id + "/pay"} {
		missing, err := c.keyed(t.Context(), "POST", path, "", body(1))
		require.NoError(t, err)
		require.Equal(t, 400, missing.code, missing.raw)
	}
	stranger := shopper(t)
	theirs, err := stranger.keyed(t.Context(), "POST", "/v1/orders", "same", body(2))
	require.NoError(t, err)
	require.Equal(t, 201, theirs.code)
	require.NotEqual(t, id, theirs.Body.ID, "keys are a member's own")

	first, err := c.keyed(t.Context(), "POST", "/v1/orders/"+id+"/pay", "pay", nil)
	require.NoError(t, err)
	require.Equal(t, 200, first.code, first.raw)
	again, err := c.keyed(t.Context(), "POST", "/v1/orders/"+id+"/pay", "pay", nil)
	require.NoError(t, err)
	require.Equal(t, first.raw, again.raw)
	require.Equal(t, "98 0 2", stockOf(t, sku))

	empty := c.order(t, product(t, 500, 0), 1)
	refused, err := c.keyed(t.Context(), "POST", "/v1/orders/"+empty+"/pay", "pay", nil)
	require.NoError(t, err)
	require.Equal(t, 409, refused.code, refused.raw)
	again, err = c.keyed(t.Context(), "POST", "/v1/orders/"+empty+"/pay", "pay", nil)
	require.NoError(t, err)
	require.Equal(t, refused.raw, again.raw, "a refusal is an answer too")
}
