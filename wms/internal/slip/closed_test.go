package slip_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/tcc/tcclaws"
)

// TestClosingWaitsForOpenTries holds a Try after it has read the switch: the warehouse is not closed before that Try is done.
func TestClosingWaitsForOpenTries(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	// An uncommitted slip of the same order, in another transaction, makes the Try wait when it writes its own.
	other, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = other.Rollback() }()
	_, err = other.ExecContext(t.Context(),
		"INSERT INTO delivery_slip (id, order_id, gid, status, address) VALUES ('0', 'order-1', '', 'UNKNOWN', '')")
	require.NoError(t, err)

	tried, closed := make(chan error, 1), make(chan error, 1)
	go func() { tried <- b.call(t.Context(), "try", "order-1") }()
	tcclaws.AwaitLockWaits(t, b.db, 1)
	go func() { closed <- b.store.SetOpen(t.Context(), false) }()
	tcclaws.AwaitLockWaits(t, b.db, 2)
	require.Empty(t, closed, "closed while a Try that saw the warehouse open was under way")
	require.NoError(t, other.Rollback())
	require.NoError(t, <-tried)
	require.NoError(t, <-closed)
	require.Equal(t, snapshot("UNKNOWN"), b.slips(t))
	require.True(t, wmsv1.IsDeliveryRefused(b.call(t.Context(), "try", "order-2")))
}

// TestClosedIsFinal closes the warehouse while many Tries run: no slip appears after that returns.
func TestClosedIsFinal(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	slips := func() (n int) {
		require.NoError(t, b.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM delivery_slip").Scan(&n))
		return n
	}
	for round := range 10 {
		require.NoError(t, b.store.SetOpen(t.Context(), true))
		var (
			wg       sync.WaitGroup
			isClosed atomic.Bool
			done     atomic.Int64
			refused  atomic.Int64
		)
		for worker := range 8 {
			wg.Go(func() {
				for i := 0; refused.Load() < 16; i++ {
					startedLate := isClosed.Load()
					err := b.call(t.Context(), "try", fmt.Sprintf("order-%d-%d-%d", round, worker, i))
					if !assert.False(t, startedLate && err == nil, "a Try succeeded that started behind the closing") {
						return
					}
					if err == nil {
						done.Add(1)
					} else if refused.Add(1); !assert.True(t, wmsv1.IsDeliveryRefused(err), "%v", err) {
						return
					}
				}
			})
		}
		assert.Eventually(t, func() bool { return done.Load() >= 20 }, 10*time.Second, time.Millisecond)
		require.NoError(t, b.store.SetOpen(t.Context(), false))
		isClosed.Store(true)
		atClosing := slips()
		wg.Wait()
		require.Equal(t, atClosing, slips(), "slips that came behind the closing, round %d", round)
	}
}
