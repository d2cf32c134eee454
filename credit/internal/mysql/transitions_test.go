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
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/migrations"
)

// TestEveryStatusAndEvent tests every pair: entry and account move as the state table says, or nothing changes.
func TestEveryStatusAndEvent(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	store, ctx := mysql.NewStore(db), t.Context()
	e := account.Entry{Source: "order-1", MemberID: "ann", Points: 10}
	events := map[account.Event]func(tx *sql.Tx) error{
		account.PrepareAdd: func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.PrepareAdd(), mysql.Granting{GID: "gid", Request: e})
		},
		account.ConfirmAdd: func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.ConfirmAdd(), mysql.Granting{Subject: e.Source, GID: "gid"})
		},
		account.CancelAdd: func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.CancelAdd(), mysql.Granting{Subject: e.Source, GID: "gid"})
		},
		account.PrepareDeduct: func(tx *sql.Tx) error { return store.PrepareDeduct(ctx, tx, "gid", e.Source) },
		account.ConfirmDeduct: func(tx *sql.Tx) error { return store.ConfirmDeduct(ctx, tx, "gid", e.Source) },
		account.CancelDeduct:  func(tx *sql.Tx) error { return store.CancelDeduct(ctx, tx, "gid", e.Source) },
	}
	// The account that goes with each status, beside 100 other points in every column, so that a wrong step would find enough.
	books := map[account.Status]string{
		account.None: "100 100 100", account.Prepared: "100 110 100", account.Added: "110 100 100", account.Canceled: "100 100 100",
		account.Deducting: "100 100 110", account.Deducted: "100 100 100",
	}
	look := func() string {
		return mysqltest.Dump(t, db, "SELECT status FROM credit_entry",
			"SELECT credit, prepare_add_credit, prepare_deduct_credit FROM credit_account")
	}
	say := func(s account.Status) string {
		if s == account.None {
			return fmt.Sprintf("--\n%s\n--\n", books[s])
		}
		return fmt.Sprintf("%s\n--\n%s\n--\n", s, books[s])
	}
	for event, happen := range events {
		for status, account := range books {
			for _, stmt := range []string{
				"DELETE FROM credit_entry", "DELETE FROM credit_account",
				"INSERT INTO credit_account (member_id, credit, prepare_add_credit, prepare_deduct_credit) VALUES ('ann', " +
					strings.ReplaceAll(account, " ", ", ") + ")",
			} {
				_, err := db.ExecContext(ctx, stmt)
				require.NoError(t, err)
			}
			if status != "" {
				_, err := db.ExecContext(ctx, `INSERT INTO credit_entry (source, member_id, gid, refund_gid, points, status)
					VALUES ('order-1', 'ann', 'gid', 'gid', 10, ?)`, status)
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
