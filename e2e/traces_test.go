package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOneTrace follows a payment whose first Confirm fails at wms through every process: HTTP, gRPC, the coordinator, every
// branch, and the Confirm's repetition ten seconds later, long after the shopper was answered.
func TestOneTrace(t *testing.T) {
	c := shopper(t)
	id := c.order(t, product(t, 500, 10), 2)
	require.Eventually(t, func() bool {
		return measured(t, target.Admin["order"]+"/metrics", `order_open_attempts{kind="PAYMENT"}`) == 0
	},
		patience, 100*time.Millisecond, "no test before left one open")
	traces.keep(true)
	defer traces.keep(false)
	require.NoError(t, setFaultAt(t.Context(), "wms", "wms/confirm", "error*2"))
	a := c.pay(t, id)
	require.Equal(t, 202, a.code, "the Confirm at wms fails: %s", a.raw)
	require.Eventually(t, func() bool {
		return measured(t, target.Admin["order"]+"/metrics", `order_open_attempts{age="2-15s",kind="PAYMENT"}`) == 1
	},
		patience, 100*time.Millisecond, "the attempt stays open")
	c.settled(t, id, "PAID")

	trace := a.header.Get("X-Request-Id")
	require.Regexp(t, "^[0-9a-f]{32}$", trace, "without a request id of the client's the answer names the trace")
	rpc := func(peer, method string) map[string]int { // a call of order to peer
		return map[string]int{"order checkout > order " + method: 1, "order " + method + " > " + peer + " " + method: 1}
	}
	want := map[string]int{
		"> gateway POST /v1/orders/{id}/pay":                                                1,
		"gateway POST /v1/orders/{id}/pay > gateway order.v1.Orders/PayOrder":               1,
		"gateway order.v1.Orders/PayOrder > order order.v1.Orders/PayOrder":                 1,
		"order order.v1.Orders/PayOrder > order checkout":                                   1,
		"order checkout > order order try":                                                  1,
		"order checkout > dtm order.v1.OrderPayment/Confirm":                                1,
		"dtm order.v1.OrderPayment/Confirm > order order.v1.OrderPayment/Confirm":           1,
		"order order.v1.OrderPayment/Confirm > order order confirm":                         1,
		"order order confirm > order publish order-events":                                  1,
		"order publish order-events > notify consume notify-orders":                         1,
		"order checkout > dtm wms.v1.DeliverySlip/Confirm":                                  3,
		"dtm wms.v1.DeliverySlip/Confirm > wms wms.v1.DeliverySlip/Confirm":                 3,
		"wms wms.v1.DeliverySlip/Confirm > wms wms confirm":                                 3,
		"order checkout > dtm credit.v1.CreditGrant/Confirm":                                1,
		"dtm credit.v1.CreditGrant/Confirm > credit credit.v1.CreditGrant/Confirm":          1,
		"credit credit.v1.CreditGrant/Confirm > credit credit confirm":                      1,
		"order checkout > dtm inventory.v1.StockFreeze/Confirm":                             1,
		"dtm inventory.v1.StockFreeze/Confirm > inventory inventory.v1.StockFreeze/Confirm": 1,
		"inventory inventory.v1.StockFreeze/Confirm > inventory inventory confirm":          1,
	}
	for peer, method := range map[string]string{"inventory": "inventory.v1.StockFreeze/Try", "credit": "credit.v1.CreditGrant/Try",
		"wms": "wms.v1.DeliverySlip/Try"} {
		for edge, n := range rpc(peer, method) {
			want[edge] = n
		}
		want[peer+" "+method+" > "+peer+" "+peer+" try"] = 1
	}
	for _, method := range []string{"dtmgimp.Dtm/Prepare", "dtmgimp.Dtm/Submit"} {
		for edge, n := range rpc("dtm", method) {
			want[edge] = n
		}
	}
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		got := edges(traces.trace(trace))
		// A canary's event comes by Redis too, and so do all for a while after an outage: twice, with one effect.
		if followed := "order publish order-events > notify consume notify-orders"; got[followed] == 2 {
			got[followed] = 1
		}
		assert.Equal(t, want, got)
	},
		patience, 200*time.Millisecond, "the exporters have sent everything")

	outcomes := map[string]int{}
	gid := ""
	for _, s := range traces.trace(trace) {
		if s.name == "order checkout" {
			gid = s.attrs["gid"]
			assert.Equal(t, id, s.attrs["order"])
		}
		if s.name == "wms wms confirm" {
			outcomes[s.attrs["outcome"]]++
			assert.Equal(t, s.attrs["outcome"] == "error", s.failed)
		}
	}
	assert.Equal(t, map[string]int{"error": 2, "done": 1}, outcomes)
	require.NotEmpty(t, gid)

	// Every log line about this payment, in every process, has the trace, and the order and gid where the process knows them.
	var told []string
	for _, process := range slices.Concat([]string{"gateway", "order", "dtm"}, participants) {
		for _, line := range logLines(t, process) {
			if line["gid"] != gid && line["order"] != id && line["trace"] != trace {
				continue
			}
			told = append(told, fmt.Sprintf("%s: %v", process, line["msg"]))
			assert.Equal(t, trace, line["trace"], "%s: %v", process, line)
			assert.Equal(t, gid, line["gid"], "%s: %v", process, line)
			if process != "dtm" {
				assert.Equal(t, id, line["order"], "%s: %v", process, line)
			}
		}
	}
	for _, line := range []string{"order: decided: submit", "wms: failpoint", "wms: branch phase failed", "wms: call",
		"dtm: branch call failed"} {
		assert.Contains(t, told, line)
	}
}

// TestMetrics: there are metrics of rate, errors and duration of every call and of every phase of a branch.
func TestMetrics(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	before := map[string]float64{}
	counts := []struct{ process, name string }{
		{"gateway", `gateway_call_seconds_count{code="200",operation="/order.v1.Orders/PayOrder"}`},
		{"gateway", `gateway_call_seconds_count{code="404",operation="/order.v1.Orders/PayOrder"}`},
		{"gateway", `rpc_client_call_duration_seconds_count{rpc_method="order.v1.Orders/PayOrder",rpc_response_status_code="OK"}`},
		{"order", `rpc_server_call_duration_seconds_count{rpc_method="order.v1.Orders/PayOrder",rpc_response_status_code="OK"}`},
		{"order", `rpc_server_call_duration_seconds_count{rpc_method="order.v1.Orders/PayOrder",rpc_response_status_code="NOT_FOUND"}`},
		{"order", `rpc_client_call_duration_seconds_count{rpc_method="dtmgimp.Dtm/Submit",rpc_response_status_code="OK"}`},
		{"order", `tcc_branch_phase_duration_seconds_count{outcome="done",participant="order",phase="try"}`},
		{"inventory", `tcc_branch_phase_duration_seconds_count{outcome="done",participant="inventory",phase="try"}`},
		{"credit", `tcc_branch_phase_duration_seconds_count{outcome="done",participant="credit",phase="confirm"}`},
		{"wms", `tcc_branch_phase_duration_seconds_count{outcome="done",participant="wms",phase="confirm"}`},
	}
	for _, m := range counts {
		before[m.process+m.name] = measured(t, target.Admin[m.process]+"/metrics", m.name)
	}
	id := c.order(t, product(t, 500, 10), 2)
	require.Equal(t, 200, c.pay(t, id).code)
	require.Equal(t, 404, shopper(t).pay(t, id).code)
	for _, m := range counts {
		assert.Greater(t, measured(t, target.Admin[m.process]+"/metrics", m.name), before[m.process+m.name], "%s of %s", m.name, m.process)
	}
}

// measured returns a metric read at url: the sum over all series that have at least the labels given.
func measured(t testing.TB, url, metric string) float64 {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	name, labels, _ := strings.Cut(strings.TrimSuffix(metric, "}"), "{")
	sum := 0.0
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		series, value, _ := strings.Cut(strings.Replace(in.Text(), "} ", "}\x00", 1), "\x00")
		if !strings.HasPrefix(series, name+"{") {
			continue
		}
		fits := true
		for label := range strings.SplitSeq(labels, ",") {
			fits = fits && strings.Contains(series, label)
		}
		if fits {
			n, err := strconv.ParseFloat(value, 64)
			require.NoError(t, err, in.Text())
			sum += n
		}
	}
	require.NoError(t, in.Err())
	return sum
}

// edges counts the spans by "parent > child".
func edges(spans []span) map[string]int {
	names := map[string]string{}
	for _, s := range spans {
		names[s.id] = s.name
	}
	found := map[string]int{}
	for _, s := range spans {
		found[strings.TrimSpace(names[s.parent]+" > "+s.name)]++
	}
	return found
}

// logLines returns the structured lines that a process of the shared stack has logged.
func logLines(t testing.TB, process string) []map[string]any {
	t.Helper()
	f, err := os.Open(shared.LogFile(process))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	var lines []map[string]any
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var line map[string]any
		if json.Unmarshal(in.Bytes(), &line) == nil {
			lines = append(lines, line)
		}
	}
	require.NoError(t, in.Err())
	return lines
}
