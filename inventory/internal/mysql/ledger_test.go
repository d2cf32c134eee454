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
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/stock"
	"example.com/fourfold/inventory/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// shelves returns a database with an order in every state.
func shelves(t *testing.T) *sql.DB {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "inventory"))
	for _, sku := range []string{"apple", "pear"} {
		require.NoError(t, store.CreateProduct(t.Context(), stock.Product{SKU: sku, Name: sku, PriceCents: 100}))
		err := store.Receive(t.Context(), sku, 100, func(*sql.Tx, stock.Level) error { return nil })
		require.NoError(t, err)
	}
	type step = func(tx *sql.Tx, id string) error
	ctx := t.Context()
	deduct := func(tx *sql.Tx, id string) error {
		return batch.Apply(ctx, tx, store.Deduct(), mysql.Freezing{Subject: id, GID: "pay-" + id})
	}
	hold := func(tx *sql.Tx, id string) error { return store.Return(ctx, tx, id, "refund-"+id) }
	for id, steps := range map[string][]step{
		"frozen": {},
		"released": {func(tx *sql.Tx, id string) error {
			return batch.Apply(ctx, tx, store.Release(), mysql.Freezing{Subject: id, GID: "pay-" + id})
		}},
		"deducted":  {deduct},
		"returning": {deduct, hold},
		"returned":  {deduct, hold, func(tx *sql.Tx, id string) error { return store.ConfirmReturn(ctx, tx, id, "refund-"+id) }},
	} {
		require.NoError(t, database.InTx(ctx, db, func(tx *sql.Tx) error {
			err := batch.Apply(ctx, tx, store.Freeze(), mysql.Freezing{Subject: id, GID: "pay-" + id, Request: []stock.Line{{SKU: "apple", Quantity: 2}, {SKU: "pear", Quantity: 1}}})
			for _, s := range steps {
				if err == nil {
					err = s(tx, id)
				}
			}
			return err
		}), id)
	}
	return db
}

func TestBooks(t *testing.T) {
	t.Parallel()
	db := shelves(t)
	books := mysql.NewLedger(db)
	ledgerlaws.Run(t, books,
		"deducted|apple|2 DEDUCTED*", "deducted|pear|1 DEDUCTED*",
		"frozen|apple|2 FROZEN", "frozen|pear|1 FROZEN",
		"released|apple|2 RELEASED", "released|pear|1 RELEASED",
		"returned|apple|2 RETURNED", "returned|pear|1 RETURNED",
		"returning|apple|2 RETURNING*", "returning|pear|1 RETURNING*")
	assert.Empty(t, ledgerlaws.Broken(t, books, time.Minute))

	checks, err := books.Check(t.Context(), time.Minute)
	require.NoError(t, err)
	var checked []int64
	for _, c := range checks {
		checked = append(checked, c.Checked)
	}
	assert.Equal(t, []int64{2, 2, 2, 4}, checked, "two skus; two orders of two lines are open")

	_, err = db.ExecContext(t.Context(), "UPDATE stock_freeze SET updated_at = TIMESTAMPADD(SECOND, -61, NOW(3))")
	require.NoError(t, err)
	checks, err = books.Check(t.Context(), time.Minute)
	require.NoError(t, err)
	assert.Len(t, checks[3].Violations, 4, "%v", checks[3])
	assert.Contains(t, checks[3].Violations[0], "order frozen, sku apple: FROZEN for 61 s")
}

// TestBrokenBooks breaks one rule at a time and tests that the check finds that rule broken.
func TestBrokenBooks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, statement, broken string }{
		{"a unit appears", "UPDATE stock SET sellable = sellable + 1 WHERE sku = 'pear'",
			"inventory: sellable + frozen + sold = received, none negative"},
		{"below nothing", "UPDATE stock SET sellable = -1, received = frozen + sold - 1 WHERE sku = 'pear'",
			"inventory: sellable + frozen + sold = received, none negative"},
		{"frozen for nobody", "UPDATE stock SET sellable = sellable - 1, frozen = frozen + 1 WHERE sku = 'pear'",
			"inventory: frozen = FROZEN lines"},
		{"a frozen line without stock",
			"INSERT INTO stock_freeze (order_id, sku, gid, quantity, status) VALUES ('o', 'ghost', 'g', 1, 'FROZEN')",
			"inventory: frozen = FROZEN lines"},
		{"sold to nobody", "UPDATE stock SET sellable = sellable - 1, sold = sold + 1 WHERE sku = 'pear'",
			"inventory: sold = DEDUCTED + RETURNING lines"},
		{"a line that took more", "UPDATE stock_freeze SET quantity = 3 WHERE status = 'RETURNING' AND sku = 'pear'",
			"inventory: sold = DEDUCTED + RETURNING lines"},
		{"a sold line lost", "DELETE FROM stock_freeze WHERE status = 'DEDUCTED' AND sku = 'pear'",
			"inventory: sold = DEDUCTED + RETURNING lines"},
		{"frozen for ever", "UPDATE stock_freeze SET updated_at = '2026-01-01' WHERE status = 'FROZEN'",
			"inventory: nothing stays FROZEN or RETURNING"},
		{"returning for ever", "UPDATE stock_freeze SET updated_at = '2026-01-01' WHERE status = 'RETURNING'",
			"inventory: nothing stays FROZEN or RETURNING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := shelves(t)
			mysqltest.Corrupt(t, db, c.statement)
			assert.Equal(t, []string{c.broken}, ledgerlaws.Broken(t, mysql.NewLedger(db), time.Minute))
		})
	}
}
