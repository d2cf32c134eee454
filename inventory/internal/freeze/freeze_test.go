package freeze_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/inventory/internal/freeze"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/stock"
	"example.com/fourfold/inventory/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestLaws runs the laws of a participant with an order of two products, one of them on two lines.
func TestLaws(t *testing.T) {
	t.Parallel()
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		db := mysqltest.Open(t, migrations.FS, mq.Tables())
		store := mysql.NewStore(db, mqtest.Absent(t, db, "inventory"))
		for _, sku := range []string{"apple", "pear"} {
			require.NoError(t, store.CreateProduct(t.Context(), stock.Product{SKU: sku, Name: sku, PriceCents: 100}))
			err := store.Receive(t.Context(), sku, 100, func(*sql.Tx, stock.Level) error { return nil })
			require.NoError(t, err)
		}
		keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
		require.NoError(t, err)
		f := freeze.New(tcc.NewParticipant(t.Name(), db, keys), store)
		request := func(orderID string) *inventoryv1.StockFreezeRequest {
			return &inventoryv1.StockFreezeRequest{OrderId: orderID, Lines: []*inventoryv1.StockFreezeRequest_Line{
				{Sku: "pear", Quantity: 2}, {Sku: "apple", Quantity: 3}, {Sku: "pear", Quantity: 1},
			}}
		}
		return tcclaws.Branch{
			Name: t.Name(), Keys: keys, DB: db, Subject: "order-1", GID: "gid-1",
			Calls: tcclaws.Serve(t, &inventoryv1.StockFreeze_ServiceDesc, f, request),
			Snapshot: func(t testing.TB) string {
				return mysqltest.Dump(t, db, `
					SELECT sku, sellable, frozen, sold FROM stock ORDER BY sku`, `
					SELECT order_id, sku, quantity, status FROM stock_freeze ORDER BY order_id, sku`)
			},
			Before:    books("100 0 0", "100 0 0", ""),
			Tried:     books("97 3 0", "97 3 0", "FROZEN"),
			Confirmed: books("97 0 3", "97 0 3", "DEDUCTED"),
			Canceled:  books("100 0 0", "100 0 0", "RELEASED"),
			Refuse: func(t testing.TB) string {
				_, err := db.ExecContext(t.Context(), "UPDATE stock SET sellable = 2, received = 2 WHERE sku = 'pear'")
				require.NoError(t, err)
				return "STOCK_NOT_ENOUGH"
			},
			Lock: "SELECT sku FROM stock WHERE sku = 'pear' FOR UPDATE",
		}
	})
}

// books returns a snapshot: both products' sellable, frozen and sold, and the order's freezes.
func books(apple, pear, status string) string {
	s := fmt.Sprintf("apple %s\npear %s\n--\n", apple, pear)
	if status != "" {
		s += fmt.Sprintf("order-1 apple 3 %[1]s\norder-1 pear 3 %[1]s\n", status)
	}
	return s + "--\n"
}
