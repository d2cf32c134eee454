package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStopCutsNoRequest: with one process of each, each in turn is told to stop in the middle of a stream of payments, and started again. Every
// call that was accepted gets a proper answer, be it that a part of the shop is away: no connection breaks. The books add up.
func TestStopCutsNoRequest(t *testing.T) {
	f := startFlow(t, shared, pace{perSecond: 27, inFlight: 12})
	t.Cleanup(func() { // whatever happened, later tests find all processes
		for _, name := range ours {
			assert.NoError(t, shared.Start(context.Background(), name))
		}
		assert.NoError(t, shared.WaitHealthy(context.Background()))
	})
	for _, name := range ours {
		f.more(t, 20)
		require.NoError(t, shared.Stop(t.Context(), name), name)
		require.NoError(t, shared.Start(t.Context(), name), name)
		require.NoError(t, shared.WaitHealthy(t.Context(), name, "gateway"), name)
		f.requireNoProblems(t, name+" restarted")
	}
	f.more(t, 20)
	f.end()
	f.requireNoProblems(t, "at the end")
	f.requireTruth(t, stops)
}

// requireNoProblems fails the test with the problems so far.
func (f *flow) requireNoProblems(t *testing.T, when string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(t, f.problems, "%d answers are wrong, %s", len(f.problems), when)
}

// What happens to the processes during a stream of payments.
const (
	stops = "stops" // the only one of each is stopped: a part may be away, but no call is cut
	twins = "twins" // one of two is stopped: there is always another one
	kills = "kills" // one of two is killed: a call may be cut
)

// requireTruth waits until nothing is open and the books add up, for at most 30 s, and compares what every shopper was told with the orders.
func (f *flow) requireTruth(t *testing.T, through string) {
	t.Helper()
	start := time.Now()
	requireSettles(t, f.stack.Target())
	settled := time.Since(start)
	orders := open(t, f.stack.ReaderDSN("shop_order"))
	counts := map[string]int{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.ledger {
		counts[l.status]++
		now := one(t, orders, "SELECT CONCAT_WS(' ', status, NULLIF(reason, '')) FROM orders WHERE id = ?", l.id)
		switch {
		case through == twins:
			assert.Contains(t, []string{"PAID", "UPDATING"}, l.status, "told about %s", l.id)
			assert.Equal(t, "PAID", now, l.id)
		case l.status == "PAID", l.status == "CANCELED":
			assert.Equal(t, strings.TrimSpace(l.status+" "+l.reason), now, "told about %s", l.id)
		case through == stops && l.reason == "UPSTREAM_UNAVAILABLE":
			// The gateway answers so when order is away, and also when order stops during the call: then there is an attempt.
			assert.Equal(t, "0", one(t, orders, "SELECT COUNT(*) FROM payment_attempt WHERE order_id = ?", l.id),
				"the payment of %s was cut", l.id)
		}
	}
	t.Logf("settled in %.1f s; told %v; answers %v; %d late", settled.Seconds(), counts, f.codes, f.late.Load())
}
