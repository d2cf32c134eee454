package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paid creates and pays an order of 2 × 5.00 and returns its id.
func paid(t testing.TB, c *client, sku string) string {
	t.Helper()
	id := c.order(t, sku, 2)
	a := c.pay(t, id)
	// On a busy machine: 503, nothing happened; 202, not known yet.
	for again := time.Now().Add(patience); a.code == 503 && time.Now().Before(again); a = c.pay(t, id) {
	}
	require.Contains(t, []int{200, 202}, a.code, a.raw)
	c.settled(t, id, "PAID")
	return id
}

// delivery returns the id of the order's slip.
func delivery(t testing.TB, id string) string {
	t.Helper()
	d := operator.must(t, 200, "GET", "/v1/ops/deliveries?order_id="+id, nil).Body.Deliveries
	require.Len(t, d, 1)
	return d[0].ID
}

// TestRefund: stock and points are as before the purchase, the slip is canceled, and a second refund changes nothing.
func TestRefund(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 100)
	id := paid(t, c, sku)
	a := c.must(t, 200, "POST", "/v1/orders/"+id+"/refund", nil)
	require.Equal(t, "REFUNDED", a.Body.Status)
	assert.Equal(t, "100 0 0", stockOf(t, sku))
	assert.Equal(t, "0 0", creditOf(t, c))
	assert.Equal(t, "REFUNDED | 2 RETURNED | 10 DEDUCTED | CANCELED | DONE,DONE", footprint(t, id))
	require.Equal(t, "REFUNDED", c.must(t, 200, "POST", "/v1/orders/"+id+"/refund", nil).Body.Status)
	c.must(t, 409, "POST", "/v1/orders/"+id+"/pay", nil)
	shopper(t).must(t, 404, "POST", "/v1/orders/"+id+"/refund", nil)
	c.must(t, 409, "POST", "/v1/orders/"+c.order(t, sku, 1)+"/refund", nil)
}

// TestWarehouseWork: the order follows its slip, and cannot be refunded once it is picked.
func TestWarehouseWork(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 100)
	id := paid(t, c, sku)
	slip := "/v1/ops/deliveries/" + delivery(t, id)
	operator.must(t, 409, "POST", slip+"/ship", nil)
	for range 2 {
		require.Equal(t, "PICKED", operator.must(t, 200, "POST", slip+"/pick", nil).Body.Status)
	}
	a := c.must(t, 409, "POST", "/v1/orders/"+id+"/refund", nil)
	require.Equal(t, "DELIVERY_REFUSED", a.Body.Reason)
	require.Equal(t, "PAID", c.must(t, 200, "GET", "/v1/orders/"+id, nil).Body.Status)
	assert.Equal(t, "98 0 2", stockOf(t, sku))
	assert.Equal(t, "10 0", creditOf(t, c))

	require.Equal(t, "SHIPPED", operator.must(t, 200, "POST", slip+"/ship", nil).Body.Status)
	c.settled(t, id, "SHIPPED")
	require.Equal(t, "DELIVERED", operator.must(t, 200, "POST", slip+"/deliver", nil).Body.Status)
	c.settled(t, id, "COMPLETED")
	c.must(t, 409, "POST", "/v1/orders/"+id+"/refund", nil)
	require.Equal(t, 200, c.pay(t, id).code, "it is paid")
	c.must(t, 403, "POST", slip+"/pick", nil)
}

// TestSpentPointsAreNotRefunded: the points are gone, so the refund is refused everywhere.
func TestSpentPointsAreNotRefunded(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 100)
	id := paid(t, c, sku)
	me := c.must(t, 200, "GET", "/v1/members/me", nil).Body.MemberID
	operator.must(t, 200, "PUT", "/v1/ops/members/"+me+"/credit", map[string]any{"frozen": true})
	a := c.must(t, 409, "POST", "/v1/orders/"+id+"/refund", nil)
	require.Equal(t, "CREDIT_REFUSED", a.Body.Reason)
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE,DONE", footprint(t, id))
	operator.must(t, 200, "PUT", "/v1/ops/members/"+me+"/credit", map[string]any{"frozen": false})
	require.Equal(t, "REFUNDED", c.must(t, 200, "POST", "/v1/orders/"+id+"/refund", nil).Body.Status)
}

// TestRefundAgainstPick: in 200 rounds each order is refunded or picked, never both.
func TestRefundAgainstPick(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 1000)
	outcomes := map[string]int{}
	var mu sync.Mutex
	var round atomic.Int64
	rounds(t, 200, 5, func() {
		id := paid(t, c, sku)
		slip := "/v1/ops/deliveries/" + delivery(t, id)
		refund := func() { _, _ = c.try(t.Context(), "POST", "/v1/orders/"+id+"/refund", nil) }
		pick := func() {
			stagger(100 * time.Millisecond)
			_, _ = operator.try(t.Context(), "POST", slip+"/pick", nil)
		}
		switch round.Add(1) % 10 {
		case 0:
			refund()
			pick()
		case 1:
			pick()
			refund()
		default:
			var wg sync.WaitGroup
			wg.Go(refund)
			wg.Go(pick)
			wg.Wait()
		}
		c.settled(t, id, "PAID", "REFUNDED")
		end := strings.ReplaceAll(footprint(t, id), "ABANDONED,", "") // when the payment needed a second attempt
		mu.Lock()
		defer mu.Unlock()
		outcomes[end]++
	})
	t.Log(outcomes)
	picked := outcomes["PAID | 2 DEDUCTED | 10 ADDED | PICKED | DONE,DONE"] +
		outcomes["PAID | 2 DEDUCTED | 10 ADDED | PICKED | DONE,ABANDONED"]
	refunded := outcomes["REFUNDED | 2 RETURNED | 10 DEDUCTED | CANCELED | DONE,DONE"]
	require.Equal(t, 200, picked+refunded, "%v", outcomes)
	require.NotZero(t, picked, "a race that one side always wins is none")
	require.NotZero(t, refunded, "a race that one side always wins is none")
	requireBooks(t)
}

// expire makes an order's time be over now. Its timer is overdue for so long that the sweep looks at it within a second.
func expire(ctx context.Context, orders *sql.DB, id string) error {
	_, err := orders.ExecContext(ctx, `UPDATE orders o JOIN mq_timer t ON t.id = CONCAT('expiry:', o.id)
		SET o.expires_at = NOW(3), t.due_at = TIMESTAMPADD(SECOND, -4, NOW(3)) WHERE o.id = ?`, id)
	return err
}

// TestPayAgainstCancelAgainstExpiry: in 200 rounds each order ends in exactly one of the three ways, everywhere. In three rounds of four one of
// them comes first, so that every outcome occurs; in the fourth they race. On a busy machine a payment may end by its time-out, which is an
// outcome too.
func TestPayAgainstCancelAgainstExpiry(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 1000)
	orders := open(t, shared.DSN("shop_order"))
	outcomes := map[string]int{}
	var mu sync.Mutex
	var round atomic.Int64
	rounds(t, 200, 5, func() {
		id := c.order(t, sku, 2)
		var told answer
		all := []func(){
			func() { told, _ = c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil) },
			func() { _, _ = c.try(t.Context(), "POST", "/v1/orders/"+id+"/cancel", nil) },
			func() { assert.NoError(t, expire(t.Context(), orders, id)) },
		}
		first := int(round.Add(1) % 4)
		if first < len(all) {
			all[first]()
			all = append(all[:first:first], all[first+1:]...)
		}
		var wg sync.WaitGroup
		for _, call := range all {
			wg.Go(call)
		}
		wg.Wait()
		end := c.settled(t, id, "PAID", "CANCELED")
		switch told.code {
		case 200:
			assert.Equal(t, "PAID", end.Body.Status)
		case 409:
			assert.Equal(t, "CANCELED "+told.Body.Reason, end.Body.Status+" "+end.Body.Reason)
		}
		mu.Lock()
		defer mu.Unlock()
		outcomes[end.Body.Status+" "+end.Body.Reason]++
	})
	t.Log(outcomes)
	begun := outcomes["PAID "] + outcomes["CANCELED PAYMENT_TIMEOUT"]
	require.Equal(t, 200, begun+outcomes["CANCELED BY_MEMBER"]+outcomes["CANCELED EXPIRED"], "%v", outcomes)
	require.NotZero(t, outcomes["PAID "])
	assert.GreaterOrEqual(t, begun, 50)
	assert.GreaterOrEqual(t, outcomes["CANCELED BY_MEMBER"], 50)
	assert.NotZero(t, outcomes["CANCELED EXPIRED"])
	assert.Equal(t, fmt.Sprint(1000-2*outcomes["PAID "], 0, 2*outcomes["PAID "]), stockOf(t, sku))
	assert.Equal(t, fmt.Sprint(10*outcomes["PAID "], " 0"), creditOf(t, c))
	requireBooks(t)
}

// TestFiftyShoppersTenUnits: each of 50 shoppers pays three times concurrently; ten are served, and every answer says so correctly.
func TestFiftyShoppersTenUnits(t *testing.T) {
	sku := product(t, 500, 10)
	ids := make([]string, 50)
	shoppers := make([]*client, 50)
	for i := range shoppers {
		shoppers[i] = shopper(t)
		ids[i] = shoppers[i].order(t, sku, 1)
	}
	var wg sync.WaitGroup
	told := make([]answer, 3*len(shoppers))
	for n := range told {
		wg.Go(func() {
			i := n % len(shoppers)
			told[n], _ = shoppers[i].try(t.Context(), "POST", "/v1/orders/"+ids[i]+"/pay", nil)
		})
	}
	wg.Wait()
	ends := map[string]int{}
	for i, c := range shoppers {
		end := c.settled(t, ids[i], "PAID", "CANCELED")
		for n := i; n < len(told); n += len(shoppers) {
			switch told[n].code {
			case 200:
				assert.Equal(t, "PAID", end.Body.Status)
			case 409:
				assert.Equal(t, "CANCELED "+told[n].Body.Reason, end.Body.Status+" "+end.Body.Reason)
			default:
				assert.Contains(t, []int{202, 503}, told[n].code, told[n].raw)
			}
		}
		ends[end.Body.Status+" "+end.Body.Reason]++
	}
	t.Log(ends)
	paid := ends["PAID "]
	assert.LessOrEqual(t, paid, 10)
	if ends["CANCELED PAYMENT_TIMEOUT"] == 0 {
		assert.Equal(t, 10, paid)
	}
	assert.Equal(t, fmt.Sprint(10-paid, 0, paid), stockOf(t, sku))
	requireBooks(t)
}

// stagger gives the others a random head start, so that a race has many outcomes.
func stagger(most time.Duration) { time.Sleep(rand.N(most)) }

// rounds runs round n times, at most parallel at a time.
func rounds(t testing.TB, n, parallel int, round func()) {
	t.Helper()
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for range todo {
				if t.Failed() {
					return
				}
				round()
			}
		})
	}
	wg.Wait()
}
