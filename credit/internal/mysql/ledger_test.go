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
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// accounts returns a database with an order's entry in every state, and one entry that is not of an order.
func accounts(t *testing.T) *sql.DB {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS)
	store := mysql.NewStore(db)
	ctx := t.Context()
	_, _, err := store.Grant(ctx, account.Entry{Source: "seed:demo", MemberID: "ann", Points: 1190})
	require.NoError(t, err)
	type step = func(tx *sql.Tx, id string) error
	add := func(tx *sql.Tx, id string) error {
		return batch.Apply(ctx, tx, store.ConfirmAdd(), mysql.Granting{Subject: id, GID: "pay-" + id})
	}
	hold := func(tx *sql.Tx, id string) error { return store.PrepareDeduct(ctx, tx, "refund-"+id, id) }
	for id, steps := range map[string][]step{
		"prepared": {},
		"canceled": {func(tx *sql.Tx, id string) error {
			return batch.Apply(ctx, tx, store.CancelAdd(), mysql.Granting{Subject: id, GID: "pay-" + id})
		}},
		"added":     {add},
		"deducting": {add, hold},
		"deducted":  {add, hold, func(tx *sql.Tx, id string) error { return store.ConfirmDeduct(ctx, tx, "refund-"+id, id) }},
	} {
		require.NoError(t, database.InTx(ctx, db, func(tx *sql.Tx) error {
			err := batch.Apply(ctx, tx, store.PrepareAdd(), mysql.Granting{GID: "pay-" + id, Request: account.Entry{Source: id, MemberID: "ann", Points: 10}})
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
	db := accounts(t)
	books := mysql.NewLedger(db)
	ledgerlaws.Run(t, books,
		"added|10 ADDED*", "canceled|10 CANCELED", "deducted|10 DEDUCTED", "deducting|10 DEDUCTING*", "prepared|10 PREPARED")
	assert.Empty(t, ledgerlaws.Broken(t, books, time.Minute))

	_, err := db.ExecContext(t.Context(), "UPDATE credit_entry SET updated_at = TIMESTAMPADD(SECOND, -61, NOW(3))")
	require.NoError(t, err)
	checks, err := books.Check(t.Context(), time.Minute)
	require.NoError(t, err)
	var checked []int64
	for _, c := range checks {
		checked = append(checked, c.Checked)
	}
	assert.Equal(t, []int64{1, 1, 1, 1, 2}, checked, "one account; two orders' entries are open")
	assert.Len(t, checks[4].Violations, 2, "%v", checks[4])
	assert.Contains(t, checks[4].Violations, "order prepared: PREPARED for 61 s")
}

// TestBrokenBooks breaks one rule at a time and tests that the check finds that rule broken.
func TestBrokenBooks(t *testing.T) {
	t.Parallel()
	const (
		added     = "credit: credit + prepare_deduct_credit = ADDED + DEDUCTING entries"
		prepared  = "credit: prepare_add_credit = PREPARED entries"
		deducting = "credit: prepare_deduct_credit = DEDUCTING entries"
		negative  = "credit: no balance is negative"
		stale     = "credit: nothing stays PREPARED or DEDUCTING"
	)
	for _, c := range []struct {
		name, statement string
		broken          []string
	}{
		{"points appear", "UPDATE credit_account SET credit = credit + 1", []string{added}},
		{"points vanish", "UPDATE credit_account SET credit = credit - 1", []string{added}},
		{"open entries lost", "DELETE FROM credit_entry WHERE status IN ('PREPARED', 'DEDUCTING')", []string{added, prepared, deducting}},
		{"an entry of nobody", "INSERT INTO credit_entry (source, member_id, gid, points, status) VALUES ('x', 'bob', '', 5, 'ADDED')",
			[]string{added}},
		{"promised by nobody", "UPDATE credit_account SET prepare_add_credit = prepare_add_credit + 1", []string{prepared}},
		{"a promise changed", "UPDATE credit_entry SET points = 11 WHERE status = 'PREPARED'", []string{prepared}},
		{"held by nobody", "UPDATE credit_account SET credit = credit - 1, prepare_deduct_credit = prepare_deduct_credit + 1",
			[]string{deducting}},
		{"below nothing", "INSERT INTO credit_account (member_id, prepare_add_credit) VALUES ('bob', -1)", []string{prepared, negative}},
		{"prepared for ever", "UPDATE credit_entry SET updated_at = '2026-01-01' WHERE status = 'PREPARED'", []string{stale}},
		{"deducting for ever", "UPDATE credit_entry SET updated_at = '2026-01-01' WHERE status = 'DEDUCTING'", []string{stale}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := accounts(t)
			mysqltest.Corrupt(t, db, c.statement)
			assert.Equal(t, c.broken, ledgerlaws.Broken(t, mysql.NewLedger(db), time.Minute))
		})
	}
}
