package prepare

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// TestUsers: the user by which a service runs reads and writes the rows of its own database, and may do nothing else; the owner changes the
// tables of its own too. So it is on a new server, and on one where each service had one user for all.
func TestUsers(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"new": "DO 1",
		"one user before": "CREATE DATABASE shop_%[1]s; CREATE TABLE shop_%[1]s.kept AS SELECT 7 AS n; " +
			"CREATE USER '%[1]s'@'127.0.0.1' IDENTIFIED BY 'old'; GRANT ALL ON `shop\\_%[1]s`.* TO '%[1]s'@'127.0.0.1'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, root := start(t)
			for _, service := range databases() {
				_, err := root.ExecContext(t.Context(), fmt.Sprintf(before+"; DO '%[1]s'", service))
				require.NoError(t, err)
			}
			sec, err := Load(t.TempDir())
			require.NoError(t, err)
			_, err = root.ExecContext(t.Context(), string(Users(sec, "127.0.0.1")))
			require.NoError(t, err)

			type accounts struct {
				running, owner *sql.DB
				table          string
			}
			all := map[string]accounts{}
			for _, service := range databases() {
				cfg := database.Config{DSN: sec.DSN(service, server.Addr), MigrateDSN: sec.OwnerDSN(service, server.Addr)}
				a := accounts{running: open(t, cfg), owner: open(t, database.Config{DSN: cfg.MigrateDSN})}
				require.NoError(t, database.Migrate(t.Context(), a.running, migrations(service)), service)
				tables := column(t, a.running, "SHOW TABLES")
				require.Greater(t, len(tables), 2, service)
				for _, table := range tables {
					requireRows(t, a.running, table)
				}
				a.table = "shop_" + service + "." + tables[0]
				all[service] = a
				assert.Equal(t, []string{"GRANT " + database.Privileges + " ON `shop\\_" + service + "`.* TO `" + service + "`@`127.0.0.1`"},
					column(t, a.running, "SHOW GRANTS")[1:], "and who it is")
			}
			for i, service := range databases() {
				a, other := all[service], all[databases()[(i+1)%len(databases())]]
				for _, statement := range append(changes(a.table), elsewhere(a.table, other.table)...) {
					requireDenied(t, a.running, statement)
				}
				for _, statement := range elsewhere(a.table, other.table) {
					requireDenied(t, a.owner, statement)
				}
				for _, statement := range []string{"CREATE TABLE more (n INT)", "ALTER TABLE more ADD m INT", "CREATE INDEX m ON more (m)",
					"TRUNCATE TABLE more", "RENAME TABLE more TO less", "DROP TABLE less"} {
					_, err := a.owner.ExecContext(t.Context(), statement)
					assert.NoError(t, err, "%s: %s", service, statement)
				}
			}
		})
	}
}

// changes are statements that change the tables of the database of table.
func changes(table string) []string {
	return []string{
		"DROP TABLE " + table,
		"ALTER TABLE " + table + " ADD more INT",
		"CREATE TABLE more (n INT)",
		"CREATE TABLE more AS SELECT * FROM " + table,
		"CREATE TEMPORARY TABLE more (n INT)",
		"TRUNCATE TABLE " + table,
		"RENAME TABLE " + table + " TO more",
		"CREATE OR REPLACE VIEW more AS SELECT 1",
		"CREATE TRIGGER more BEFORE INSERT ON " + table + " FOR EACH ROW SET @n = 1",
		"CREATE PROCEDURE more() SELECT 1",
		"CREATE EVENT more ON SCHEDULE EVERY 1 DAY DO SELECT 1",
		"LOCK TABLES " + table + " WRITE",
		"ALTER DATABASE CHARACTER SET latin1",
	}
}

// elsewhere are statements that reach beyond the database of table: to other, a table of another one, to the server and its files.
func elsewhere(table, other string) []string {
	return []string{
		"SELECT * FROM " + other,
		"DELETE FROM " + other,
		"CREATE TABLE " + other + "_more (n INT)",
		"DROP TABLE " + other,
		"SELECT * FROM mysql.user",
		"SELECT * FROM mysql.global_priv",
		"DELETE FROM mysql.db",
		"GRANT SELECT ON " + table + " TO 'reader'@'127.0.0.1'",
		"CREATE USER more",
		"ALTER USER 'reader'@'127.0.0.1' IDENTIFIED BY ''",
		"SET PASSWORD FOR 'reader'@'127.0.0.1' = ''",
		"CREATE DATABASE more",
		"SET GLOBAL max_connections = 10",
		"FLUSH PRIVILEGES",
		"INSTALL SONAME 'ha_blackhole'",
		"SELECT 1 INTO OUTFILE '/tmp/fourfold-more'",
		"LOAD DATA INFILE '/etc/hostname' INTO TABLE " + table,
		"SHUTDOWN",
	}
}

// TestUsersWhileInUse: when the statements run again, nothing that a service may do is denied for a moment.
func TestUsersWhileInUse(t *testing.T) {
	t.Parallel()
	server, root := start(t)
	sec, err := Load(t.TempDir())
	require.NoError(t, err)
	again := func() {
		_, err := root.ExecContext(t.Context(), string(Users(sec, "127.0.0.1")))
		require.NoError(t, err)
	}
	again()
	require.NoError(t, server.Exec(t.Context(), "CREATE TABLE shop_order.orders (n INT)"))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			db, err := database.Open(database.Config{DSN: sec.DSN("order", server.Addr)})
			if err == nil {
				_, err = db.Exec("INSERT INTO orders VALUES (1)")
				_ = db.Close() // a new connection sees what is granted now
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for range 30 {
		again()
	}
	cancel()
	require.NoError(t, <-failed)
}

// start starts a server that the test may do anything to, and returns root's pool there, which takes several statements at a time.
func start(t *testing.T) (*mysqltest.Server, *sql.DB) {
	server, err := mysqltest.Start("--skip-name-resolve")
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server, open(t, database.Config{DSN: server.DSN("") + "?multiStatements=true"})
}

func open(t *testing.T, cfg database.Config) *sql.DB {
	db, err := database.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// migrations returns the tables of a service's own.
func migrations(service string) fs.FS {
	dir := filepath.Join("../..", service, "migrations")
	if service == "dtm" {
		dir = "../dtm/migrations"
	}
	return os.DirFS(dir)
}

// column returns the first column of what query finds.
func column(t *testing.T, db *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var value string
		require.NoError(t, rows.Scan(&value))
		all = append(all, value)
	}
	require.NoError(t, rows.Err())
	return all
}

// requireRows requires that db may read, lock, add, change and delete rows of table.
func requireRows(t *testing.T, db *sql.DB, table string) {
	t.Helper()
	of := column(t, db, "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND extra NOT LIKE '%GENERATED%'", table)[0]
	for _, statement := range []string{
		"SELECT * FROM %[1]s WHERE FALSE FOR UPDATE",
		"INSERT IGNORE INTO %[1]s (%[2]s) SELECT %[2]s FROM %[1]s WHERE FALSE",
		"UPDATE %[1]s SET %[2]s = %[2]s WHERE FALSE",
		"DELETE FROM %[1]s WHERE FALSE",
	} {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(statement, table, of))
		require.NoError(t, err, statement)
	}
}

// requireDenied requires that the server denies db a statement, for want of a privilege and for nothing else.
func requireDenied(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	assert.True(t, database.Denied(err), "%s as %s: %v", statement, column(t, db, "SELECT CURRENT_USER()"), err)
}
