package mysql_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/ledger/ledgerlaws"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// slips returns a database with a slip in every state.
func slips(t *testing.T) *sql.DB {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "wms"))
	for id, status := range map[string]delivery.Status{
		"canceled": delivery.Canceled, "created": delivery.Created, "delivered": delivery.Delivered, "held": delivery.Held,
		"picked": delivery.Picked, "shipped": delivery.Shipped, "unknown": delivery.Unknown,
	} {
		slip, err := delivery.NewSlip(id, "Main Street 1", []delivery.Line{{SKU: "a", Quantity: 1}, {SKU: "b", Quantity: 2}})
		require.NoError(t, err)
		require.NoError(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error {
			if err := batch.Apply(t.Context(), tx, store.Draft(), mysql.Drafting{GID: "pay-" + id, Request: slip}); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), "UPDATE delivery_slip SET status = ? WHERE order_id = ?", status, id)
			return err
		}))
	}
	return db
}

func TestBooks(t *testing.T) {
	t.Parallel()
	db := slips(t)
	books := mysql.NewLedger(db)
	ledgerlaws.Run(t, books, "canceled| CANCELED", "created| CREATED*", "delivered|DELIVERED DELIVERED*", "held| HELD*", "picked| PICKED*",
		"shipped|SHIPPED SHIPPED*", "unknown| UNKNOWN")
	assert.Empty(t, ledgerlaws.Broken(t, books, time.Minute))

	_, err := db.ExecContext(t.Context(), "UPDATE delivery_slip SET updated_at = TIMESTAMPADD(SECOND, -61, NOW(3))")
	require.NoError(t, err)
	checks, err := books.Check(t.Context(), time.Minute)
	require.NoError(t, err)
	var checked []int64
	for _, c := range checks {
		checked = append(checked, c.Checked)
	}
	assert.Equal(t, []int64{7, 7, 2}, checked, "seven slips; two are open")
	assert.Len(t, checks[2].Violations, 2, "%v", checks[2])
	assert.Contains(t, checks[2].Violations, "order held: HELD for 61 s")
}

// TestBrokenBooks breaks one rule at a time and tests that the check finds that rule broken.
func TestBrokenBooks(t *testing.T) {
	t.Parallel()
	const linesOf = "DELETE FROM delivery_line WHERE slip_id = (SELECT id FROM delivery_slip WHERE order_id = "
	for _, c := range []struct{ name, statement, broken string }{
		{"a status nobody knows", "UPDATE delivery_slip SET status = 'LOST' WHERE order_id = 'picked'", "wms: every slip has a legal status"},
		{"a status in small letters", "UPDATE delivery_slip SET status = 'created' WHERE order_id = 'picked'",
			"wms: every slip has a legal status"},
		{"a status with a blank behind", "UPDATE delivery_slip SET status = 'PICKED ' WHERE order_id = 'picked'",
			"wms: every slip has a legal status"},
		{"no status", "UPDATE delivery_slip SET status = '' WHERE order_id = 'picked'", "wms: every slip has a legal status"},
		{"nothing to send", linesOf + "'picked')", "wms: every slip has lines"},
		{"its lines are another slip's",
			"UPDATE delivery_line SET slip_id = 'nobody' WHERE slip_id = (SELECT id FROM delivery_slip WHERE order_id = 'picked')",
			"wms: every slip has lines"},
		{"nothing to send in any", "DELETE FROM delivery_line", "wms: every slip has lines"},
		{"unknown for ever", "UPDATE delivery_slip SET updated_at = '2026-01-01' WHERE order_id = 'unknown'",
			"wms: nothing stays UNKNOWN or HELD"},
		{"held for ever", "UPDATE delivery_slip SET updated_at = '2026-01-01' WHERE order_id = 'held'", "wms: nothing stays UNKNOWN or HELD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := slips(t)
			mysqltest.Corrupt(t, db, c.statement)
			assert.Equal(t, []string{c.broken}, ledgerlaws.Broken(t, mysql.NewLedger(db), time.Minute))
		})
	}
}
