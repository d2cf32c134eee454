package database_test

import (
	"database/sql"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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

// TestMigrateAccount: the tables are made by an account of their own, whose connections are closed then; the one that runs may not change them.
func TestMigrateAccount(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"0001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (n INT);")}}
	cfg := mysqltest.Config(t)
	open := func(cfg database.Config) *sql.DB {
		db, err := database.Open(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	for name, dsn := range map[string]string{"none": "", "may not": cfg.DSN, "unknown": strings.Replace(cfg.DSN, "service@", "nobody@", 1)} {
		err := database.Migrate(t.Context(), open(database.Config{DSN: cfg.DSN, MigrateDSN: dsn}), files)
		require.ErrorContains(t, err, "denied", name)
		require.ErrorContains(t, err, "mysql.migrate_dsn (else mysql.dsn) must have an account that may change the tables", name)
	}
	db := open(cfg)
	require.NoError(t, database.Migrate(t.Context(), db, files))
	require.Eventually(t, func() bool {
		var owners int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM information_schema.processlist
			WHERE db = DATABASE() AND user = 'root'`).Scan(&owners))
		return owners == 0
	}, 10*time.Second, 10*time.Millisecond, "its connection is still open")
	for _, statement := range []string{"INSERT INTO t VALUES (1)", "UPDATE t SET n = 2", "SELECT n FROM t", "DELETE FROM t"} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	_, err := db.ExecContext(t.Context(), "ALTER TABLE t ADD m INT")
	require.ErrorContains(t, err, "denied")
	require.NoError(t, database.Migrate(t.Context(), open(database.Config{DSN: cfg.DSN}), files), "nothing is left to do, so one that may not will do")
}

// TestMigrateDSN: a wrong one is refused by its name before anything is done.
func TestMigrateDSN(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"127.0.0.1:3306":                "mysql.migrate_dsn: ",
		"owner@tcp(127.0.0.1:1)/shop_b": `mysql.migrate_dsn names the database "shop_b", and mysql.dsn "shop_a": it must be the same`,
	} {
		_, err := database.Open(database.Config{DSN: "a@tcp(127.0.0.1:1)/shop_a", MigrateDSN: dsn})
		require.ErrorContains(t, err, want)
	}
}
