package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/system"
)

// told is what one shopper was told about one order; it is empty when the outcome was unknown or no answer came.
type told struct{ id, status, reason string }

// TestKillEverything kills every process with SIGKILL in the middle of a stream of payments and keeps it down for a while (OUTAGE, 5s by
// default). From the moment all is healthy, what is open settles within 30 s, and so does what the stream began later; the books add up, and
// every shopper who was told PAID or CANCELED was told the truth.
func TestKillEverything(t *testing.T) {
	outage := 5 * time.Second
	if text := os.Getenv("OUTAGE"); text != "" {
		var err error
		outage, err = time.ParseDuration(text)
		require.NoError(t, err, "OUTAGE is a duration such as 60s")
	}
	for _, name := range slices.Concat(ours, []string{"namesrv", "broker", "mariadb", "redis", "queues"}) {
		t.Run(name, func(t *testing.T) {
			sku := product(t, 500, 100000)
			shoppers := []*client{shopper(t), shopper(t), shopper(t), shopper(t)}
			stop := make(chan struct{})
			ledgers := make([][]told, len(shoppers))
			var answered, open atomic.Int64
			var wg sync.WaitGroup
			for i, c := range shoppers {
				wg.Go(func() { ledgers[i] = stream(c, sku, stop, &answered, &open) })
			}
			require.Eventually(t, func() bool { return answered.Load() > 10 }, 10*time.Second, 10*time.Millisecond)

			ctx := context.Background()
			require.NoError(t, shared.Kill(ctx, name))
			require.NoError(t, shared.Stop(ctx, name)) // before it is started again
			down := time.Now()
			time.Sleep(outage) // the outage itself
			require.NoError(t, shared.Start(ctx, name))
			require.NoError(t, shared.WaitHealthy(ctx, name, "gateway"))
			healthy := time.Now()
			settled := unsettled(t)
			before := answered.Load()
			require.Eventually(t, func() bool { return answered.Load() > before+10 }, 15*time.Second, 10*time.Millisecond,
				"payments go on by themselves")
			close(stop)
			took := settled()
			wg.Wait()
			requireSettles(t, target)

			checked := requireTruth(t, ledgers)
			t.Logf("%-9s down %s: %d told PAID or CANCELED, all true; %d answers were open; settled %.1f s after healthy",
				name, healthy.Sub(down).Round(100*time.Millisecond), checked, open.Load(), took.Seconds())
		})
	}
}

// TestKillAll kills all processes at once, in the middle of the payments of 64 shoppers, once or KILLS times. They start again by themselves,
// and every shopper who was told PAID or CANCELED was told the truth.
func TestKillAll(t *testing.T) {
	kills := 1
	if text := os.Getenv("KILLS"); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err, "KILLS is a number such as 20")
	}
	sku, all := product(t, 500, 1000000), shared.Names()
	shoppers := make([]*client, 64)
	for i := range shoppers {
		shoppers[i] = shopper(t)
	}
	stop := make(chan struct{})
	ledgers := make([][]told, len(shoppers))
	var answered, open atomic.Int64
	var wg sync.WaitGroup
	for i, c := range shoppers {
		wg.Go(func() { ledgers[i] = stream(c, sku, stop, &answered, &open) })
	}
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(end)
	for range kills {
		before := answered.Load()
		require.Eventually(t, func() bool { return answered.Load() > before+200 }, time.Minute, 10*time.Millisecond, "payments go on by themselves")
		var pids []int
		for _, name := range all {
			pid, err := shared.PID(t.Context(), name)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
		rand.Shuffle(len(pids), func(i, j int) { pids[i], pids[j] = pids[j], pids[i] })
		for _, pid := range pids {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		require.Eventually(t, func() bool { return !slices.ContainsFunc(pids, alive) }, 10*time.Second, 10*time.Millisecond)
		require.NoError(t, shared.WaitHealthy(t.Context()))
	}
	settled := unsettled(t)
	end()
	took := settled()
	requireSettles(t, target)
	assert.Positive(t, open.Load(), "payments were under way")
	t.Logf("all killed %d times: %d told PAID or CANCELED, all true; %d answers were open; settled %.1f s after healthy",
		kills, requireTruth(t, ledgers), open.Load(), took.Seconds())
}

// alive reports whether a process with that id runs.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// requireTruth compares what shoppers were told with the rows, and returns how many of them were told something.
func requireTruth(t *testing.T, ledgers [][]told) (checked int) {
	t.Helper()
	for _, ledger := range ledgers {
		for _, l := range ledger {
			if l.status == "" {
				continue
			}
			checked++
			now := one(t, db(t, "shop_order"), "SELECT CONCAT_WS(' ', status, NULLIF(reason, '')) FROM orders WHERE id = ?", l.id)
			assert.Equal(t, strings.TrimSpace(l.status+" "+l.reason), now, "told about %s", l.id)
		}
	}
	return checked
}

// stream creates and pays orders until stop is closed and returns what the shopper was told.
func stream(c *client, sku string, stop <-chan struct{}, answered, open *atomic.Int64) []told {
	var ledger []told
	for {
		select {
		case <-stop:
			return ledger
		default:
		}
		made, err := c.try(context.Background(), "POST", "/v1/orders", map[string]any{"lines": []any{map[string]any{"sku": sku, "quantity": 1}}})
		if err != nil || made.code != 201 {
			time.Sleep(20 * time.Millisecond) // the shop is away: do not spin
			continue
		}
		l := told{id: made.Body.ID}
		switch a, err := c.try(context.Background(), "POST", "/v1/orders/"+l.id+"/pay", nil); {
		case err == nil && a.code == 200:
			l.status = a.Body.Status
		case err == nil && a.code == 409:
			l.status, l.reason = "CANCELED", a.Body.Reason
		default:
			open.Add(1)
			time.Sleep(20 * time.Millisecond) // part of the shop is away
		}
		if l.status != "" {
			answered.Add(1)
		}
		ledger = append(ledger, l)
	}
}

// unsettled notes which payments and refunds are open now, when all is healthy. settled waits until none of them is open, for at most 30 s from
// now, and returns how long after now that was.
func unsettled(t testing.TB) (settled func() time.Duration) {
	t.Helper()
	healthy, orders := time.Now(), db(t, "shop_order")
	gids := one(t, orders, "SELECT GROUP_CONCAT(gid) FROM payment_attempt WHERE state = 'OPEN'")
	return func() time.Duration {
		t.Helper()
		var left string
		require.Eventually(t, func() bool {
			left = one(t, orders, "SELECT GROUP_CONCAT(gid) FROM payment_attempt WHERE state = 'OPEN' AND FIND_IN_SET(gid, ?)", gids)
			return left == ""
		}, time.Until(healthy.Add(30*time.Second)), 100*time.Millisecond, "settles within 30 s of being healthy: %v", &left)
		return time.Since(healthy)
	}
}

// requireSettles waits until the books add up and nothing is open, for at most 30 s.
func requireSettles(t testing.TB, s system.Target) {
	t.Helper()
	var problems []string
	require.Eventually(t, func() bool {
		problems = bookProblems(t, s)
		return len(problems) == 0
	}, 30*time.Second, 200*time.Millisecond, "settles within 30 s: %v", &problems)
}

// bookProblems returns the names of the checks that fail in s.
func bookProblems(t testing.TB, s system.Target) []string {
	t.Helper()
	var problems []string
	for _, check := range books {
		var rows any
		err := open(t, s.MySQL.DSN(check.database)).QueryRowContext(t.Context(),
			"SELECT GROUP_CONCAT(q.row_id) FROM ("+check.query+") q").Scan(&rows)
		if err != nil {
			problems = append(problems, check.name+": "+err.Error())
		} else if rows != nil {
			problems = append(problems, fmt.Sprintf("%s: %.200s", check.name, rows))
		}
	}
	return problems
}
