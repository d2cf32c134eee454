package mysql_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/mysql/mysqltest"
)

// TestMigrationMayTakeLong: a migration may take longer than any statement of a call, as on a big table.
func TestMigrationMayTakeLong(t *testing.T) {
	t.Parallel()
	db, err := mysql.Open(mysql.Config{DSN: mysqltest.DSN(t) + "?readTimeout=1s"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "SELECT SLEEP(3)")
	require.Error(t, err, "a call may not")
	require.NoError(t, mysql.Migrate(t.Context(), db, fstest.MapFS{
		"0001_long.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (n INT);\nINSERT INTO t SELECT SLEEP(3);")},
	}))
	var n int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	assert.Equal(t, 1, n)
}
