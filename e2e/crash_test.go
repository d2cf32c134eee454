package e2e_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOwnTryTooLate: order's Try does not answer within the deadline. The attempt is given up, the order stays payable, and no answer says
// CANCELED.
func TestOwnTryTooLate(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	fault(t, "payment/try", "pause*1")
	paid := make(chan answer, 1)
	go func() {
		a, _ := c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil)
		paid <- a
	}()
	a := <-paid // the deadline ends the pause
	require.Equal(t, 503, a.code, a.raw)
	require.Equal(t, "TRY_LATER", a.Body.Reason)
	assert.Equal(t, "CREATED |  |  |  | ABANDONED", footprint(t, id))
	require.Equal(t, 200, c.pay(t, id).code, "at once, with a transaction of its own")
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | ABANDONED,DONE", footprint(t, id))
}

// TestInitiatorFrozen: order is held between its own Try and the others for longer than the coordinator waits, and then goes on. It must not
// bring the order back to life.
func TestInitiatorFrozen(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	hit := fault(t, "checkout/order-tried", "pause*1")
	paid := make(chan answer, 1)
	go func() {
		a, _ := c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil)
		paid <- a
	}()
	hit()
	pid, err := shared.PID(t.Context(), "order")
	require.NoError(t, err)
	gid := one(t, db(t, "shop_order"), "SELECT gid FROM payment_attempt WHERE order_id = ?", id)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	awake := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(awake)
	require.Eventually(t, func() bool {
		return one(t, open(t, shared.DSN("shop_dtm")), "SELECT status FROM trans_global WHERE gid = ?", gid) == "aborting"
	}, 20*time.Second, 100*time.Millisecond, "the coordinator gives up")
	awake()
	<-paid
	assert.Equal(t, "PAYMENT_TIMEOUT", c.settledWithin(t, 20*time.Second, id, "CANCELED").Body.Reason)
	assert.Equal(t, "100 0 0", stockOf(t, sku))
	assert.Equal(t, "0 0", creditOf(t, c))
	require.NoError(t, shared.WaitHealthy(t.Context(), "order", "gateway"))
}

// TestCoordinatorDown: nothing is begun, and the order stays payable.
func TestCoordinatorDown(t *testing.T) {
	c := shopper(t)
	id := c.order(t, product(t, 500, 100), 2)
	require.NoError(t, shared.Stop(t.Context(), "dtm"))
	t.Cleanup(func() {
		assert.NoError(t, shared.Start(context.Background(), "dtm"))
		assert.NoError(t, shared.WaitHealthy(context.Background(), "dtm"))
	})
	for range 2 {
		a := c.pay(t, id)
		require.Equal(t, 503, a.code, a.raw)
		require.NotEmpty(t, a.header.Get("Retry-After"))
		assert.Equal(t, "CREATED", c.must(t, 200, "GET", "/v1/orders/"+id, nil).Body.Status)
	}
	require.NoError(t, shared.Start(t.Context(), "dtm"))
	require.NoError(t, shared.WaitHealthy(t.Context(), "dtm"))
	require.Equal(t, 200, c.pay(t, id).code)
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | ABANDONED,ABANDONED,DONE", footprint(t, id))
	requireBooks(t)
}

// TestCoordinatorDeadlocks: the coordinator's database undoes every tenth of its writes to end a deadlock, at every step of many concurrent
// payments and refunds. None of them is canceled for that; rarely one is not begun in time and must be requested again.
func TestCoordinatorDeadlocks(t *testing.T) {
	log := open(t, shared.OwnerDSN("shop_dtm"))
	exec := func(ctx context.Context, stmt string) {
		_, err := log.ExecContext(ctx, stmt)
		require.NoError(t, err, stmt)
	}
	// A sequence is outside all transactions, so it also counts what is undone.
	exec(t.Context(), "CREATE OR REPLACE SEQUENCE forced NOCACHE")
	for name, on := range map[string]string{
		"forced_new": "INSERT ON trans_global", "forced_status": "UPDATE ON trans_global", "forced_branch": "INSERT ON trans_branch_op",
	} {
		t.Cleanup(func() { exec(context.Background(), "DROP TRIGGER "+name) })
		exec(t.Context(), "CREATE OR REPLACE TRIGGER "+name+" BEFORE "+on+` FOR EACH ROW
			IF RAND() < 0.1 AND NEXT VALUE FOR forced > 0 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF`)
	}
	sku := product(t, 500, 1000)
	var (
		shoppers sync.WaitGroup
		again    atomic.Int64
	)
	for range 12 {
		c := shopper(t)
		// ask also returns how many times the request was not begun: so many attempts were abandoned.
		ask := func(path string) (a answer, abandoned int, err error) {
			for ; ; abandoned++ {
				if a, err = c.try(t.Context(), "POST", path, nil); err != nil || a.code != 503 || again.Add(1) > 10 {
					return a, abandoned, err
				}
			}
		}
		shoppers.Go(func() {
			for n := range 4 {
				id := c.order(t, sku, 2)
				a, abandoned, err := ask("/v1/orders/" + id + "/pay")
				if !assert.NoError(t, err) || !assert.Contains(t, []int{200, 202}, a.code, a.raw) {
					return
				}
				c.settledWithin(t, 20*time.Second, id, "PAID")
				assert.Equal(t, strings.Replace(paidOnce, "DONE", strings.Repeat("ABANDONED,", abandoned)+"DONE", 1), footprint(t, id))
				if n == 0 {
					a, _, err := ask("/v1/orders/" + id + "/refund")
					if !assert.NoError(t, err) || !assert.Contains(t, []int{200, 202}, a.code, a.raw) {
						return
					}
					c.settledWithin(t, 20*time.Second, id, "REFUNDED")
				}
			}
		})
	}
	shoppers.Wait()
	undone, err := strconv.Atoi(one(t, log, "SELECT next_not_cached_value - 1 FROM forced"))
	require.NoError(t, err)
	require.Greater(t, undone, 50)
	requireBooks(t)
}
