package restock_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/restock"
	"example.com/fourfold/inventory/internal/stock"
	"example.com/fourfold/inventory/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// branch is a Restock that is served, over a database of its own, with 100 apples and 100 pears.
type branch struct {
	calls *tcclaws.Calls
	db    *sql.DB
	store *mysql.Store
	keys  mac.Keys
}

func newBranch(t *testing.T) branch {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	store := mysql.NewStore(db, mqtest.Absent(t, db, "inventory"))
	for _, sku := range []string{"apple", "pear"} {
		require.NoError(t, store.CreateProduct(t.Context(), stock.Product{SKU: sku, Name: sku, PriceCents: 100}))
		err := store.Receive(t.Context(), sku, 100, func(*sql.Tx, stock.Level) error { return nil })
		require.NoError(t, err)
	}
	r := restock.New(tcc.NewParticipant(t.Name(), db, keys), store)
	return branch{tcclaws.Serve(t, &inventoryv1.StockReturn_ServiceDesc, r, request), db, store, keys}
}

// pay takes the order's payment as far as status: FROZEN, DEDUCTED or RELEASED.
func (b branch) pay(t require.TestingT, orderID string, status stock.FreezeStatus, lines ...stock.Line) {
	ctx := context.Background()
	require.NoError(t, database.InTx(ctx, b.db, func(tx *sql.Tx) error {
		if err := batch.Apply(ctx, tx, b.store.Freeze(), mysql.Freezing{Subject: orderID, GID: "pay-" + orderID, Request: lines}); err != nil {
			return err
		}
		switch status {
		case stock.Deducted:
			return batch.Apply(ctx, tx, b.store.Deduct(), mysql.Freezing{Subject: orderID, GID: "pay-" + orderID})
		case stock.Released:
			return batch.Apply(ctx, tx, b.store.Release(), mysql.Freezing{Subject: orderID, GID: "pay-" + orderID})
		}
		return nil
	}))
}

// call calls one phase of the refund gid as the coordinator would.
func (b branch) call(op, orderID, gid string) error {
	return b.calls.Deliver(context.Background(), b.keys, op, gid, orderID, request(orderID))
}

func request(orderID string) *inventoryv1.StockReturnRequest {
	return &inventoryv1.StockReturnRequest{OrderId: orderID}
}

func (b branch) books(t testing.TB) string {
	return mysqltest.Dump(t, b.db,
		"SELECT sku, sellable, frozen, sold FROM stock ORDER BY sku",
		"SELECT order_id, sku, quantity, status FROM stock_freeze ORDER BY order_id, sku")
}

// TestLaws runs the laws of a participant with a paid order of two products.
func TestLaws(t *testing.T) {
	t.Parallel()
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		b := newBranch(t)
		b.pay(t, "order-1", stock.Deducted, stock.Line{SKU: "apple", Quantity: 3}, stock.Line{SKU: "pear", Quantity: 2})
		return tcclaws.Branch{
			Name: t.Name(), Keys: b.keys, DB: b.db, Subject: "order-1", GID: "refund-1",
			Calls:     b.calls,
			Snapshot:  func(t testing.TB) string { return b.books(t) },
			Before:    books("97 0 3", "98 0 2", "DEDUCTED"),
			Tried:     books("97 0 3", "98 0 2", "RETURNING"),
			Confirmed: books("100 0 0", "100 0 0", "RETURNED"),
			Canceled:  books("97 0 3", "98 0 2", "DEDUCTED"),
			Refuse: func(t testing.TB) string {
				_, err := b.db.ExecContext(t.Context(), "UPDATE stock_freeze SET status = 'RELEASED'")
				require.NoError(t, err)
				return "STOCK_NOT_SOLD"
			},
			Lock: "SELECT sku FROM stock_freeze WHERE order_id = 'order-1' AND sku = 'pear' FOR UPDATE",
		}
	})
}

// books returns a snapshot: both products' sellable, frozen and sold, and the order's freezes.
func books(apple, pear, status string) string {
	return fmt.Sprintf("apple %s\npear %s\n--\norder-1 apple 3 %[3]s\norder-1 pear 2 %[3]s\n--\n", apple, pear, status)
}

// TestOneRefundAtATime tests that another refund is refused while one holds the goods and after it returned them, and may try after the first
// was canceled; late calls of the first do not touch what the second holds.
func TestOneRefundAtATime(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	b.pay(t, "order-1", stock.Deducted, stock.Line{SKU: "apple", Quantity: 3}, stock.Line{SKU: "pear", Quantity: 2})
	require.NoError(t, b.call("try", "order-1", "refund-1"))
	require.True(t, inventoryv1.IsStockNotSold(b.call("try", "order-1", "refund-2")), "held by the first")
	require.NoError(t, b.call("cancel", "order-1", "refund-2"))
	require.Equal(t, books("97 0 3", "98 0 2", "RETURNING"), b.books(t))
	require.NoError(t, b.call("cancel", "order-1", "refund-1"))

	require.NoError(t, b.call("try", "order-1", "refund-3"))
	require.NoError(t, b.call("cancel", "order-1", "refund-1"), "a repeated Cancel")
	require.Error(t, b.call("confirm", "order-1", "refund-1"))
	require.Equal(t, books("97 0 3", "98 0 2", "RETURNING"), b.books(t))
	require.NoError(t, b.call("confirm", "order-1", "refund-3"))
	require.Equal(t, books("100 0 0", "100 0 0", "RETURNED"), b.books(t))

	require.True(t, inventoryv1.IsStockNotSold(b.call("try", "order-1", "refund-4")), "given back already")
	require.True(t, inventoryv1.IsStockNotSold(b.call("try", "order-2", "refund-5")), "nobody's order")
}

// TestHeldGoodsAreNotSold tests that returned goods can be bought after Confirm and not before, so that a Cancel takes them from nobody.
func TestHeldGoodsAreNotSold(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	b.pay(t, "order-1", stock.Deducted, stock.Line{SKU: "apple", Quantity: 100})
	buy := func() error {
		return database.InTx(t.Context(), b.db, func(tx *sql.Tx) error {
			return batch.Apply(t.Context(), tx, b.store.Freeze(), mysql.Freezing{Subject: "order-2", GID: "pay-order-2", Request: []stock.Line{{SKU: "apple", Quantity: 1}}})
		})
	}
	require.NoError(t, b.call("try", "order-1", "refund-1"))
	assert.ErrorIs(t, buy(), stock.ErrNotEnough)
	require.NoError(t, b.call("confirm", "order-1", "refund-1"))
	assert.NoError(t, buy())
}
