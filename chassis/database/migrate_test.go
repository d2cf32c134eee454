package database_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// TestMigrationMayTakeLong: a migration may take longer than any statement of a call, as on a big table.
func TestMigrationMayTakeLong(t *testing.T) {
	t.Parallel()
	db, err := database.Open(database.Config{DSN: mysqltest.DSN(t) + "?readTimeout=1s"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "SELECT SLEEP(3)")
	require.Error(t, err, "a call may not")
	require.NoError(t, database.Migrate(t.Context(), db, fstest.MapFS{
		"0001_long.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (n INT);\nINSERT INTO t SELECT SLEEP(3);")},
	}))
	var n int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	assert.Equal(t, 1, n)
}

// TestMigrateRefusesAnotherPast: tables that come of steps which are gone would not fit; a newer program's do, and nothing is changed.
func TestMigrateRefusesAnotherPast(t *testing.T) {
	t.Parallel()
	step := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)} }
	one, two, ten := step("CREATE TABLE t (n INT);"), step("INSERT INTO t VALUES (1);"), step("CREATE TABLE t (n INT, m INT);")
	db := mysqltest.Open(t, fstest.MapFS{"0001_t.sql": one, "0002_t.sql": two})
	part := database.Part{Name: "part", Migrations: fstest.MapFS{"0001_p.sql": step("CREATE TABLE p (n INT);")}}
	err := database.Migrate(t.Context(), db, fstest.MapFS{"0010_t.sql": ten}, part)
	require.ErrorContains(t, err, "start with an empty database")
	require.NoError(t, database.Migrate(t.Context(), db, fstest.MapFS{"0001_t.sql": one}), "beside a newer one")
	assert.Equal(t, "1\n--\ngoose_db_version\nt\n--\n", mysqltest.Dump(t, db, "SELECT * FROM t", "SHOW TABLES"))
}
