package restock_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/inventory/internal/stock"
)

// refund is the model of one refund: what its calls so far have led to.
type refund string

const (
	unheard   refund = ""
	shut      refund = "shut" // a Cancel came before its Try
	held      refund = "held"
	confirmed refund = "confirmed"
	canceled  refund = "canceled"
)

// TestBooksHold makes the calls of three refunds each of orders in every state, in any order. After each call, stock and freezes are what the
// model says: above all, every unit is in exactly one place, and comes back once.
func TestBooksHold(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		type order struct {
			id       string
			quantity int64
			status   stock.FreezeStatus
			refunds  [3]refund
		}
		sku := fmt.Sprintf("sku-%d", run)
		require.NoError(rt, b.store.CreateProduct(t.Context(), stock.Product{SKU: sku, Name: sku, PriceCents: 1}))
		err := b.store.Receive(t.Context(), sku, 100, func(*sql.Tx, stock.Level) error { return nil })
		require.NoError(rt, err)
		orders := make([]*order, 3)
		for i := range orders {
			o := &order{
				id: fmt.Sprintf("order-%d-%d", run, i), quantity: rapid.Int64Range(1, 9).Draw(rt, "quantity"),
				status: rapid.SampledFrom([]stock.FreezeStatus{stock.Deducted, stock.Deducted, stock.Frozen, stock.Released}).Draw(rt, "status"),
			}
			b.pay(rt, o.id, o.status, stock.Line{SKU: sku, Quantity: o.quantity})
			orders[i] = o
		}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			o := rapid.SampledFrom(orders).Draw(rt, "order")
			n := rapid.IntRange(0, 2).Draw(rt, "refund")
			op := rapid.SampledFrom([]string{"try", "try", "confirm", "cancel"}).Draw(rt, "op")
			err := b.call(op, o.id, fmt.Sprintf("refund-%s-%d", o.id, n))
			r := &o.refunds[n]
			switch op {
			case "try":
				switch {
				case *r != unheard:
					require.NoError(rt, err)
				case o.status != stock.Deducted:
					require.True(rt, inventoryv1.IsStockNotSold(err), "%v", err)
				default:
					require.NoError(rt, err)
					*r, o.status = held, stock.Returning
				}
			case "confirm":
				require.Equal(rt, *r == held || *r == confirmed, err == nil, "confirm of %q: %v", *r, err)
				if *r == held {
					*r, o.status = confirmed, stock.Returned
				}
			case "cancel":
				require.Equal(rt, *r != confirmed, err == nil, "cancel of %q: %v", *r, err)
				switch *r {
				case held:
					*r, o.status = canceled, stock.Deducted
				case unheard:
					*r = shut
				}
			}

			want := stock.Level{SKU: sku, Sellable: 100, Received: 100}
			for _, o := range orders {
				switch o.status {
				case stock.Frozen:
					want.Frozen, want.Sellable = want.Frozen+o.quantity, want.Sellable-o.quantity
				case stock.Deducted, stock.Returning:
					want.Sold, want.Sellable = want.Sold+o.quantity, want.Sellable-o.quantity
				}
				var status string
				require.NoError(rt, b.db.QueryRow("SELECT status FROM stock_freeze WHERE order_id = ?", o.id).Scan(&status))
				require.Equal(rt, string(o.status), status)
			}
			got, err := b.store.Level(t.Context(), sku)
			require.NoError(rt, err)
			require.Equal(rt, want, got)
		}
	})
}
