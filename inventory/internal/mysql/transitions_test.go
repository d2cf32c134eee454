package mysql_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/stock"
	"example.com/fourfold/inventory/migrations"
)

// TestEveryStatusAndEvent tests every pair: freeze and stock move as the state table says, or nothing changes.
func TestEveryStatusAndEvent(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store, ctx := mysql.NewStore(db, mqtest.Absent(t, db, "inventory")), t.Context()
	lines := []stock.Line{{SKU: "apple", Quantity: 10}}
	events := map[stock.Event]func(tx *sql.Tx) error{
		stock.Freeze: func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Freeze(), mysql.Freezing{Subject: "order-1", GID: "gid", Request: lines})
		},
		stock.Deduct: func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Deduct(), mysql.Freezing{Subject: "order-1", GID: "gid"})
		},
		stock.Release: func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Release(), mysql.Freezing{Subject: "order-1", GID: "gid"})
		},
		stock.Return:        func(tx *sql.Tx) error { return store.Return(ctx, tx, "order-1", "gid") },
		stock.ConfirmReturn: func(tx *sql.Tx) error { return store.ConfirmReturn(ctx, tx, "order-1", "gid") },
		stock.CancelReturn:  func(tx *sql.Tx) error { return store.CancelReturn(ctx, tx, "order-1", "gid") },
	}
	// The stock that goes with each status, beside other orders' units in every column, so that a wrong step would find enough.
	books := map[stock.FreezeStatus]string{
		stock.None: "110 100 100", stock.Frozen: "100 110 100", stock.Deducted: "100 100 110", stock.Released: "110 100 100",
		stock.Returning: "100 100 110", stock.Returned: "110 100 100",
	}
	look := func() string {
		return mysqltest.Dump(t, db, "SELECT status FROM stock_freeze", "SELECT sellable, frozen, sold FROM stock")
	}
	say := func(s stock.FreezeStatus) string {
		if s == stock.None {
			return fmt.Sprintf("--\n%s\n--\n", books[s])
		}
		return fmt.Sprintf("%s\n--\n%s\n--\n", s, books[s])
	}
	for event, happen := range events {
		for status, level := range books {
			for _, stmt := range []string{
				"DELETE FROM stock_freeze", "DELETE FROM stock",
				"INSERT INTO stock (sku, received, sellable, frozen, sold) VALUES ('apple', 310, " + strings.ReplaceAll(level, " ", ", ") + ")",
			} {
				_, err := db.ExecContext(ctx, stmt)
				require.NoError(t, err)
			}
			if status != stock.None {
				_, err := db.ExecContext(ctx, `INSERT INTO stock_freeze (order_id, sku, gid, refund_gid, quantity, status)
					VALUES ('order-1', 'apple', 'gid', 'gid', 10, ?)`, status)
				require.NoError(t, err)
			}
			require.Equal(t, say(status), look())
			err := database.InTx(ctx, db, happen)
			want := status
			if legal := event.Transition(); legal.From == status {
				want = legal.To
				assert.NoError(t, err, "%s on %q", event, status)
			} else {
				assert.Error(t, err, "%s on %q", event, status)
			}
			assert.Equal(t, say(want), look(), "%s on %q", event, status)
		}
	}
}
