package stack

import (
	"database/sql"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// requireReader requires that reader reads the tables and columns that are readable, that every other is hidden from it, and that each table of
// each database is one or the other. Up takes back what an earlier version granted.
func requireReader(t *testing.T, s *Stack, dir string) {
	t.Helper()
	ctx := t.Context()
	names := func(db *sql.DB, query string, args ...any) (all []string) {
		rows, err := db.QueryContext(ctx, query, args...)
		require.NoError(t, err)
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var name string
			require.NoError(t, rows.Scan(&name))
			all = append(all, name)
		}
		require.NoError(t, rows.Err())
		return all
	}
	reads := openDB(t, s.ReaderDSN(""))
	selects := func(what, table string) error {
		_, err := reads.ExecContext(ctx, "SELECT "+what+" FROM "+table+" LIMIT 1")
		return err
	}
	seen := 0
	for _, service := range append(system.Databases(), "dtm") {
		database := "shop_" + service
		running := openDB(t, s.DSN(database))
		for _, table := range names(running, "SHOW TABLES") {
			at := database + "." + table
			i := slices.IndexFunc(prepare.Readable[database], func(entry string) bool { return strings.Split(entry, " ")[0] == table })
			if i < 0 {
				assert.True(t, slices.Contains(append(prepare.Hidden[""], prepare.Hidden[database]...), table), "say in deploy/prepare/users.go whether reader may read %s", at)
				assert.ErrorContains(t, selects("1", at), "denied", at)
				continue
			}
			_, columns, some := strings.Cut(prepare.Readable[database][i], " ")
			for _, column := range names(running, "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?",
				database, table) {
				err := selects("`"+column+"`", at)
				if !some || slices.Contains(strings.Split(strings.Trim(columns, "()"), ", "), column) {
					assert.NoError(t, err, "%s.%s", at, column)
					seen++
				} else {
					assert.ErrorContains(t, err, "denied", "%s.%s", at, column)
				}
			}
			_, err := reads.ExecContext(ctx, "DELETE FROM "+at)
			assert.ErrorContains(t, err, "denied", at)
		}
	}
	assert.Greater(t, seen, 100)
	for _, secret := range []string{"password_hash", "*", "MAX(password_hash)", "(SELECT password_hash FROM shop_member.member LIMIT 1)"} {
		assert.ErrorContains(t, selects(secret, "shop_member.member"), "denied", secret)
	}
	assert.ErrorContains(t, openDB(t, s.ReaderDSN("shop_dtm")).PingContext(ctx), "denied")
	for database := range maps.Keys(prepare.Readable) {
		assert.NoError(t, openDB(t, s.ReaderDSN(database)).PingContext(ctx), database)
	}

	require.NoError(t, s.asRoot(ctx, "GRANT SELECT ON `shop\\_%`.* TO '"+prepare.Reader+"'@'127.0.0.1'"))
	require.NoError(t, openDB(t, s.ReaderDSN("shop_dtm")).PingContext(ctx), "as an earlier version had it")
	_, err := Up(ctx, Options{Dir: dir, SkipBuild: true})
	require.NoError(t, err)
	assert.ErrorContains(t, openDB(t, s.ReaderDSN("shop_dtm")).PingContext(ctx), "denied")
	assert.NoError(t, openDB(t, s.ReaderDSN("shop_order")).PingContext(ctx))
}
