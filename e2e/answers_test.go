package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEachPartDown: while a part of the system is down, every call is answered in time, with a code that is documented for it; a 5xx is 503 and
// says when to ask again; no answer holds an address, SQL or a stack trace. When the part is back, every call works again.
func TestEachPartDown(t *testing.T) {
	all := routes(t)
	for name, needed := range map[string][]string{ // the operations that need the part, by prefix, or by full name when it ends in $
		// Each of the services may have the position that is to be moved.
		"order":     {"Orders_", "Settlement_", "Conservation_", "Messages_MovePosition", "Messages_ResendMessages"}, // order is asked to, below
		"inventory": {"Catalogue_", "Conservation_", "Messages_MovePosition"},
		"credit":    {"Credits_", "Conservation_", "Messages_MovePosition"},
		"wms":       {"Warehouse_", "Conservation_", "Messages_MovePosition"},
		"member":    {"Members_", "Messages_MovePosition"},
		"notify": {"Notifications_", "Messages_GetDeadLetter", "Messages_DiscardDeadLetter$", "Messages_RedriveDeadLetter$",
			"Messages_DiscardRefused", "Messages_MovePosition", "Messages_ReplayMessages"}, // events are offered to its group
		"namesrv": {},
		"broker":  {"Messages_ReplayMessages"},
		"dtm":     {"Orders_PayOrder", "Orders_RefundOrder"},
		"mariadb": {"Catalogue_", "Conservation_", "Credits_", "Members_", "Notifications_", "Orders_", "Settlement_", "Warehouse_",
			"Messages_Discard", "Messages_GetDeadLetter", "Messages_List", "Messages_Move",
			"Messages_Re", "Messages_Trace"}, // all but those about the mode
		"redis":  {},
		"queues": {"Messages_ForceMode"},
	} {
		t.Run(name, func(t *testing.T) {
			c, sku := shopper(t), product(t, 500, 1000)
			me := c.must(t, 200, "GET", "/v1/members/me", nil).Body.MemberID
			slip := delivery(t, paid(t, c, sku))
			// Each call that needs an order has one of its own.
			orders := func() map[string]string {
				over := c.order(t, sku, 1) // whose stream ends at once
				c.must(t, 200, "POST", "/v1/orders/"+over+"/cancel", nil)
				return map[string]string{"Orders_WatchOrder": over, "Orders_GetOrder": c.order(t, sku, 1),
					"Orders_CancelOrder": c.order(t, sku, 1), "Orders_PayOrder": c.order(t, sku, 1),
					"Orders_RefundOrder": paid(t, c, sku), "Settlement_GetSettlement": over, "Settlement_Settle": over}
			}
			ask := func(orders map[string]string) map[string]answer {
				answers := map[string]answer{}
				var mu sync.Mutex
				var wg sync.WaitGroup
				for _, r := range all {
					var body any
					if s := r.body(); s != nil {
						body = good(t, s)
					}
					caller, v := c, victim{id: me, order: orders[r.OperationID], delivery: slip, sku: sku}
					if r.operators() {
						caller = operator
					}
					switch r.OperationID {
					case "Orders_CreateOrder":
						body = map[string]any{"lines": []any{map[string]any{"sku": sku, "quantity": 1}}}
					case "Members_SignIn":
						body = map[string]any{"login": word(16) + "@example.com", "password": password}
					case "Warehouse_SetOpen":
						body = map[string]any{"open": true}
					case "Credits_SetFrozen":
						body = map[string]any{"frozen": false}
					case "Messages_ReplayMessages":
						body = map[string]any{"topic": "member-events", "group": "notify-email", "from": time.Now().Add(-time.Minute)}
					case "Messages_ResendMessages":
						body = map[string]any{"service": "order", "topic": "order-events", "since": time.Now().Add(-time.Second)}
					}
					path := r.at(v.of(r))
					if r.OperationID == "Messages_TraceMessages" || r.OperationID == "Messages_ListPositions" {
						path += "?subject=" + me
					}
					wg.Go(func() {
						a, err := caller.try(t.Context(), r.method, path, body)
						assert.NoError(t, err, "%s gets an answer", r.OperationID)
						mu.Lock()
						defer mu.Unlock()
						answers[r.OperationID] = a
					})
				}
				wg.Wait()
				return answers
			}
			for operation, a := range ask(orders()) {
				require.Less(t, a.code, 500, "%s: %s", operation, a.raw)
			}
			asked := orders()
			require.Eventually(t, func() bool { // order has a copy of the product, and needs no inventory for a new order
				return one(t, db(t, "shop_order"), "SELECT COUNT(*) FROM product WHERE sku = ?", sku) == "1"
			}, patience, 50*time.Millisecond)
			require.NoError(t, shared.Stop(t.Context(), name))
			t.Cleanup(func() {
				assert.NoError(t, shared.Start(context.Background(), name))
				assert.NoError(t, shared.WaitHealthy(context.Background()))
			})
			answers := ask(asked)
			for _, r := range all {
				a := answers[r.OperationID]
				assert.Contains(t, r.Responses, strconv.Itoa(a.code), "%s: %s", r.OperationID, a.raw)
				assert.NotRegexp(t, leaks, a.raw, r.OperationID)
				needs := slices.ContainsFunc(needed, func(begins string) bool { return strings.HasPrefix(r.OperationID+"$", begins) })
				// The part's Try is repeated for most of the call's time, so there may be too little left.
				tries := slices.Contains(participants, name) &&
					slices.Contains([]string{"Orders_PayOrder", "Orders_RefundOrder"}, r.OperationID)
				assert.True(t, needs == (a.code >= 500) || tries, "%s needs it: %v: %s", r.OperationID, needs, a.raw)
				if a.code >= 500 {
					assert.Equal(t, 503, a.code, "%s: %s", r.OperationID, a.raw)
					seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
					assert.NoError(t, err, "%s says when to ask again", r.OperationID)
					assert.Positive(t, seconds, r.OperationID)
				}
			}

			require.NoError(t, shared.Start(t.Context(), name))
			require.NoError(t, shared.WaitHealthy(t.Context()))
			for operation, a := range ask(orders()) {
				assert.Less(t, a.code, 500, "%s: %s", operation, a.raw)
			}
			requireSettles(t, target)
		})
	}
}

// TestSameKeyInProgress: a call that is repeated while it is under way gets 202, or waits for the one outcome; after that, every repetition gets
// exactly the same answer.
func TestSameKeyInProgress(t *testing.T) {
	c := shopper(t)
	sku := product(t, 500, 100)
	id := c.order(t, sku, 2)
	hit := fault(t, "checkout/all-tried", "pause*1")
	pay := func() (answer, error) { return c.keyed(t.Context(), "POST", "/v1/orders/"+id+"/pay", "the-same", nil) }
	first := make(chan answer, 1)
	go func() {
		a, err := pay()
		assert.NoError(t, err)
		first <- a
	}()
	hit()
	repeated, err := pay()
	require.NoError(t, err)
	require.Equal(t, 202, repeated.code, repeated.raw)
	require.Equal(t, "UPDATING", repeated.Body.Status)
	require.Empty(t, first, "it is still under way")
	require.NoError(t, setFault(t.Context(), "checkout/all-tried", ""))
	a := <-first
	require.Equal(t, 200, a.code, a.raw)
	for range 2 {
		again, err := pay()
		require.NoError(t, err)
		require.Equal(t, 200, again.code, again.raw)
		require.Equal(t, a.raw, again.raw)
	}
	assert.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE", footprint(t, id))
}

// TestTotalTooLarge: an order whose total has no exact number in JSON is refused with a message, and nothing is written.
func TestTotalTooLarge(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	var lines []any
	for range 90 { // 90 × 10^9 × 10^5 is just below 2^53, 91 is above
		lines = append(lines, map[string]any{"sku": product(t, 1_000_000_000, 0), "quantity": 100_000})
	}
	most := c.must(t, 201, "POST", "/v1/orders", map[string]any{"lines": lines})
	assert.Equal(t, int64(9_000_000_000_000_000), most.Body.TotalCents)
	lines = append(lines, map[string]any{"sku": product(t, 1_000_000_000, 0), "quantity": 100_000})
	a := c.must(t, 400, "POST", "/v1/orders", map[string]any{"lines": lines})
	assert.Equal(t, "ORDER_INVALID", a.Body.Reason)
	assert.Contains(t, a.Body.Message, "lines: the total is too large")
	assert.Equal(t, "1", one(t, db(t, "shop_order"), "SELECT COUNT(*) FROM orders WHERE member_id = ?", most.Body.MemberID))

	// For one product on two lines the sum counts.
	sku := product(t, 1, 0)
	line := func(n int) any { return map[string]any{"sku": sku, "quantity": n} }
	c.must(t, 201, "POST", "/v1/orders", map[string]any{"lines": []any{line(50_000), line(50_000)}})
	a = c.must(t, 400, "POST", "/v1/orders", map[string]any{"lines": []any{line(50_000), line(50_001)}})
	assert.Contains(t, a.Body.Message, fmt.Sprintf("%q has more than 100000 units in all", sku))
}

// TestNobodyPays: a timer closes an order when its time is over, without any call.
func TestNobodyPays(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	sku := product(t, 500, 100)
	id, kept := c.order(t, sku, 2), c.order(t, sku, 2)
	made := c.must(t, 200, "GET", "/v1/orders/"+id, nil)
	var times struct {
		CreatedAt time.Time `json:"created_at"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.raw), &times))
	require.Equal(t, 30*time.Minute, times.ExpiresAt.Sub(times.CreatedAt))
	require.NoError(t, expire(t.Context(), open(t, shared.DSN("shop_order")), id))
	require.Eventually(t, func() bool { // reads the row: a GET might close the order
		return one(t, db(t, "shop_order"), "SELECT CONCAT(status, ' ', reason) FROM orders WHERE id = ?", id) == "CANCELED EXPIRED"
	}, patience, 50*time.Millisecond)
	a := c.pay(t, id)
	require.Equal(t, 409, a.code, a.raw)
	require.Equal(t, "EXPIRED", a.Body.Reason)
	require.Equal(t, 200, c.pay(t, kept).code, "the other one has its time")
	require.Equal(t, "98 0 2", stockOf(t, sku))
}

// TestConservation: the endpoint and `make conserve` check every rule against the running system, and name what was changed by hand in a
// database.
func TestConservation(t *testing.T) {
	c, sku := shopper(t), product(t, 500, 100)
	id := paid(t, c, sku)
	c.must(t, 200, "POST", "/v1/orders/"+paid(t, c, sku)+"/refund", nil)
	type report struct {
		OK     bool `json:"ok"`
		Checks []struct {
			Name       string   `json:"name"`
			OK         bool     `json:"ok"`
			Checked    int64    `json:"checked"`
			Violations []string `json:"violations"`
		} `json:"checks"`
	}
	check := func() (r report) {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(operator.must(t, 200, "GET", "/v1/ops/conservation", nil).raw), &r))
		return r
	}
	// command builds and runs the program of `make conserve`, and returns its output and exit code.
	said, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", "../bin/", "./cmd/conserve").CombinedOutput()
	require.NoError(t, err, string(said))
	command := func(demo string) (string, int) {
		cmd := exec.CommandContext(t.Context(), "../bin/conserve", "-demo", demo)
		said, err := cmd.CombinedOutput()
		if err != nil {
			require.IsType(t, &exec.ExitError{}, err)
		}
		return string(said), cmd.ProcessState.ExitCode()
	}
	demo := filepath.Join(shared.Dir(), "demo.json")
	whole := check()
	require.True(t, whole.OK, "%+v", whole)
	require.Greater(t, len(whole.Checks), 8)

	rows, code := command(demo)
	require.Equal(t, 0, code, rows)
	rows, code = command(filepath.Join(t.TempDir(), "demo.json"))
	require.Equal(t, 2, code, "it cannot be told, which is not the same as wrong: %s", rows)

	entry := func(status string) {
		_, err := open(t, shared.DSN("shop_credit")).ExecContext(context.Background(),
			"UPDATE credit_entry SET status = ? WHERE source = ?", status, id)
		require.NoError(t, err)
	}
	entry("CANCELED")
	defer entry("ADDED")
	broken := check()
	require.False(t, broken.OK)
	var violations []string
	for _, k := range broken.Checks {
		assert.Equal(t, k.OK, len(k.Violations) == 0, k.Name)
		violations = append(violations, k.Violations...)
	}
	assert.Contains(t, strings.Join(violations, "\n"), id, "it is PAID and not credited")
	rows, code = command(demo)
	require.Equal(t, 1, code, rows)
	require.Contains(t, rows, id)
	entry("ADDED")
	require.True(t, check().OK)
}
