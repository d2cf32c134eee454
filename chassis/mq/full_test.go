package mq_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestFullDatabase: an event whose effect finds no room in the database waits, however often, and none of that counts as a try. It has its
// effect when there is room. The server is a real one whose shared tablespace may not grow over 16 MB: on a file system without room MariaDB
// says the same, until it ends itself.
func TestFullDatabase(t *testing.T) {
	t.Parallel()
	server, err := mysqltest.Start("--innodb-data-file-path=ibdata1:12M:autoextend:max:16M", "--innodb-undo-tablespaces=2")
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	require.NoError(t, server.Exec(t.Context(), "CREATE DATABASE d"))
	db, err := database.Open(database.Config{DSN: server.DSN("d")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, mqlaws.Migrations, mq.Tables()))
	for _, statement := range []string{
		"SET GLOBAL innodb_file_per_table = OFF", // only the next table is in the shared tablespace
		"CREATE TABLE big (id INT AUTO_INCREMENT PRIMARY KEY, text VARBINARY(7000) NOT NULL)",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	const row = "INSERT INTO big (text) VALUES (REPEAT('x', 7000))"
	for err = nil; err == nil; {
		_, err = db.ExecContext(t.Context(), row)
	}
	var full *driver.MySQLError
	require.True(t, errors.As(err, &full) && full.Number == 1114, "%v", err)

	b := mq.NewBus("svc", memory.New(), mq.Config{})
	sub := group("things")
	sub.Tries, sub.FirstPause, sub.LongestPause, sub.Poll = 3, time.Millisecond, 5*time.Millisecond, 5*time.Millisecond
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if _, err := tx.ExecContext(ctx, row); err != nil {
				return err
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	require.NoError(t, b.Publish(t.Context(), "things", mqlaws.New("a", 1)))
	mqlaws.AwaitCount(t, db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE waits >= 5 OR state = 'DEAD'")
	assert.Equal(t, "WAITING 0\n--\n0\n--\n", mysqltest.Dump(t, db, "SELECT state, tries FROM mq_inbox", "SELECT COUNT(*) FROM effect"))

	_, err = db.ExecContext(t.Context(), "TRUNCATE TABLE big")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, db, 1, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "DONE 0\n--\n1\n--\n", mysqltest.Dump(t, db, "SELECT state, tries FROM mq_inbox", "SELECT COUNT(*) FROM big"))
}
