package reconcile_test

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/order/internal/order"
)

// hooked runs something right before a service's books are read, or right after the last read.
type hooked struct {
	ledger.Ledger
	digest, buckets, orders, end func()
}

func happen(f func()) {
	if f != nil {
		f()
	}
}

func (h hooked) Digest(ctx context.Context) (*ledger.Digest, error) {
	happen(h.digest)
	return h.Ledger.Digest(ctx)
}

func (h hooked) OfBuckets(ctx context.Context, buckets []int) ([]ledger.Fact, error) {
	happen(h.buckets)
	return h.Ledger.OfBuckets(ctx, buckets)
}

func (h hooked) OfSubjects(ctx context.Context, ids []string) ([]ledger.Fact, error) {
	happen(h.orders)
	defer happen(h.end)
	return h.Ledger.OfSubjects(ctx, ids)
}

// TestInBetween lets an order move on between any two reads of a check. Nothing is wrong, so nothing may be reported.
func TestInBetween(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.fill(t, 40)
	// moves returns functions that each take so many of the steps, one after another.
	moves := func(t *testing.T, steps []step, counts ...int) []func() {
		var list []func()
		for _, n := range counts {
			part := steps[:n]
			steps = steps[n:]
			list = append(list, func() { assert.NoError(t, run(context.Background(), part...)) })
		}
		return list
	}
	const days = "UPDATE stock_freeze SET updated_at = TIMESTAMPADD(DAY, -1, NOW(3)) WHERE order_id = ?"
	t.Run("delivered behind the order", func(t *testing.T) {
		// The parcel's way is days old on both sides, and the order's own events come between the reads: it was behind when it was read first only.
		id := s.pick(t, "status = 'PAID'")
		_, err := s.wms.ExecContext(t.Context(), strings.Replace(days, "stock_freeze SET", "delivery_slip SET status = 'DELIVERED',", 1), id)
		require.NoError(t, err)
		hooks := hooked{Ledger: s.ledger("wms"), orders: func() {
			assert.NoError(t, database.InTx(context.Background(), s.order, func(tx *sql.Tx) error {
				return s.store.Follow(context.Background(), tx, id, order.Ship, "order.shipped")
			}))
		}}
		report, err := s.compared(s.ledger("inventory"), s.ledger("credit"), hooks).Run(t.Context(), time.Minute)
		require.NoError(t, err)
		assert.Empty(t, broken(report), "%v", report.Checks)
	})
	for name, prepare := range map[string]func(t *testing.T) (before func(), h hooked){
		// The order is PAID when it is read first, and its lines RETURNED when they are.
		"refunded behind the order": func(t *testing.T) (func(), hooked) {
			o, err := s.create(t.Context())
			require.NoError(t, err)
			pay := moves(t, s.steps(order.Payment, o, true), tried, settled-tried)
			refund := moves(t, s.steps(order.Refund, o, true), settled)
			return pay[0], hooked{digest: pay[1], buckets: refund[0]}
		},
		// As before, but the refund is still under way when order is read again.
		"being refunded behind the order": func(t *testing.T) (func(), hooked) {
			o, err := s.create(t.Context())
			require.NoError(t, err)
			pay := moves(t, s.steps(order.Payment, o, true), tried, settled-tried)
			refund := moves(t, s.steps(order.Refund, o, true), settled-1)
			return pay[0], hooked{digest: pay[1], buckets: refund[0]}
		},
		// The others were confirmed long ago; order's Confirm comes when the lines have been read.
		"confirmed late": func(t *testing.T) (func(), hooked) {
			o, err := s.create(t.Context())
			require.NoError(t, err)
			pay := moves(t, s.steps(order.Payment, o, true), settled-1, 1)
			return func() {
				pay[0]()
				_, err := s.inventory.ExecContext(t.Context(), days, o.ID)
				require.NoError(t, err)
			}, hooked{orders: pay[1]}
		},
		// As before, and the order is refunded too, between the last read of its lines and the last read of the order: PAID is never seen.
		"confirmed late and refunded": func(t *testing.T) (func(), hooked) {
			o, err := s.create(t.Context())
			require.NoError(t, err)
			pay := moves(t, s.steps(order.Payment, o, true), settled-1, 1)
			refund := moves(t, s.steps(order.Refund, o, true), settled)
			return func() {
				pay[0]()
				_, err := s.inventory.ExecContext(t.Context(), days, o.ID)
				require.NoError(t, err)
			}, hooked{end: func() { pay[1](); refund[0]() }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, hooks := prepare(t)
			before()
			hooks.Ledger = s.ledger("inventory")
			report, err := s.compared(hooks, s.ledger("credit"), s.ledger("wms")).Run(t.Context(), time.Minute)
			require.NoError(t, err)
			assert.Empty(t, broken(report), "%v", report.Checks)
			_, err = s.order.ExecContext(t.Context(), "UPDATE orders SET updated_at = NOW(3)")
			require.NoError(t, err)
		})
	}
}

// TestLiveTraffic checks 200 times while orders, both new ones and ones paid long ago, are paid, canceled, shipped and refunded by the real
// branches, and every answer lags. Nothing is ever wrong.
func TestLiveTraffic(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.fill(t, 4000)
	ctx := t.Context()
	var old []order.Order
	for _, id := range s.list(t, "status = 'PAID'") {
		old = append(old, s.old(t, id))
	}
	var closed atomic.Bool
	var moved atomic.Int64
	var wg sync.WaitGroup
	shoppers := func(transact func() error) {
		wg.Go(func() {
			for !closed.Load() && assert.NoError(t, transact()) {
				moved.Add(1)
			}
		})
	}
	for range 3 {
		shoppers(func() error {
			o, err := s.create(ctx)
			if err != nil {
				return err
			}
			bought := rand.IntN(4) > 0
			if err := run(ctx, s.steps(order.Payment, o, bought)...); err != nil || !bought {
				return err
			}
			switch rand.IntN(3) {
			case 0:
				return run(ctx, s.steps(order.Refund, o, true)...)
			case 1:
				return run(ctx, s.steps(order.Refund, o, false)...)
			}
			return run(ctx, s.ship(o.ID)...)
		})
	}
	var next atomic.Int64
	shoppers(func() error {
		i := int(next.Add(1)) - 1
		if i < len(old) {
			return run(ctx, s.steps(order.Refund, old[i], i%4 > 0)...)
		}
		o, err := s.create(ctx)
		if err != nil {
			return err
		}
		return run(ctx, s.steps(order.Payment, o, true)...)
	})

	defer wg.Wait()
	defer closed.Store(true)

	// A lag before each read leaves time for whole transactions in between.
	lag := func() { time.Sleep(rand.N(30 * time.Millisecond)) }
	slow := func(name string) ledger.Ledger {
		return hooked{Ledger: s.ledger(name), digest: lag, buckets: lag, orders: lag, end: lag}
	}
	comparator := s.compared(slow("inventory"), slow("credit"), slow("wms"))
	for i := range 200 {
		report, err := comparator.Run(ctx, time.Minute)
		require.NoError(t, err)
		require.Empty(t, broken(report), "check %d, after %d transactions: %v", i, moved.Load(), report.Checks)
	}
	t.Logf("%d transactions went on during 200 checks, %d of them refunds of old orders", moved.Load(), min(int(next.Load()), len(old)))
	assert.Greater(t, moved.Load(), int64(200), "something went on")
}
