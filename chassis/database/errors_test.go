package database_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/fstest"
	"time"

	driverconfig "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// TestUnavailable: errors about the server are told from errors about the statement, however they are wrapped.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	of := func(number uint16, text string) error { return &driverconfig.MySQLError{Number: number, Message: text} }
	for _, err := range []error{
		of(1, `Can't create/write to file '/tmp/#sql' (Errcode: 28 "No space left on device")`),
		of(2, `Error reading file 'x' (Errcode: 5 "Input/output error")`),
		of(3, `Error writing file '/tmp/MYfd' (Errcode: 28 "No space left on device")`),
		of(4, "Error on close of 'x'"),
		of(5, "Out of memory (needed 65536 bytes)"),
		of(20, "Disk is full writing '/tmp/MYfd'"),
		of(23, "Out of resources when opening file 'x' (Errcode: 24)"),
		of(27, "Can't sync file 'x' to disk"),
		of(1004, "Can't create file 'x' (errno: 28)"),
		of(1016, "Can't open file: 'x' (errno: 24)"),
		of(1021, "Disk full (/tmp/#sql.MAI); waiting for someone to free some space"),
		of(1023, "Error on close of 'x' (errno: 28)"),
		of(1024, "Error reading file 'x' (errno: 5)"),
		of(1026, "Error writing file 'x' (errno: 28)"),
		of(1030, `Got error 28 "No space left on device" from storage engine InnoDB`),
		of(1030, "Got error 28 from storage engine"),
		of(1030, `Got error 135 "No more room in record file" from storage engine`),
		of(1036, "Table 'x' is read only"),
		of(1037, "Out of memory; restart server and try again"),
		of(1038, "Out of sort memory"),
		of(1040, "Too many connections"),
		of(1041, "Out of memory."),
		of(1047, "WSREP has not yet prepared node for application use"),
		of(1053, "Server shutdown in progress"),
		of(1077, "Normal shutdown"),
		of(1078, "Got signal 15. Aborting!"),
		of(1079, "Shutdown complete"),
		of(1080, "Forcing close of thread 7"),
		of(1114, "The table 'x' is full"),
		of(1129, "Host '10.0.0.1' is blocked because of many connection errors"),
		of(1135, "Can't create a new thread (errno 11)"),
		of(1152, "Aborted connection 7"),
		of(1158, "Got an error reading communication packets"),
		of(1159, "Got timeout reading communication packets"),
		of(1160, "Got an error writing communication packets"),
		of(1161, "Got timeout writing communication packets"),
		of(1180, "Got error 28 during COMMIT"),
		of(1184, "Aborted connection 7"),
		of(1203, "User shop already has more than 'max_user_connections' active connections"),
		of(1205, "Lock wait timeout exceeded"),
		of(1206, "The total number of locks exceeds the lock table size"),
		of(1213, "Deadlock found"),
		of(1226, "User 'shop' has exceeded the 'max_user_connections' resource (current value: 1)"),
		of(1290, "The MariaDB server is running with the --read-only option"),
		of(1317, "Query execution was interrupted"),
		of(1637, "Too many active concurrent transactions"),
		of(1792, "Cannot execute statement in a READ ONLY transaction"),
		of(1836, "Running in read-only mode"),
		of(1927, "Connection was killed"),
		of(1969, "Query execution was interrupted (max_statement_time exceeded)"),
		of(3024, "Query execution was interrupted, maximum statement execution time exceeded"),
		&net.OpError{Op: "dial", Err: errors.New("connection refused")},
		driver.ErrBadConn, driverconfig.ErrInvalidConn, io.EOF, io.ErrUnexpectedEOF,
		&tls.CertificateVerificationError{Err: errors.New("expired")}, driverconfig.ErrNoTLS,
	} {
		assert.True(t, database.Unavailable(err), "%v", err)
		assert.True(t, database.Unavailable(fmt.Errorf("receive stock: %w", err)), "wrapped: %v", err)
	}
	for _, err := range []error{
		nil,
		errors.New("the handler has a bug"),
		sql.ErrNoRows, sql.ErrTxDone, sql.ErrConnDone,
		of(1030, `Got error 139 "Too big row" from storage engine`),
		of(1030, `Got error 131 "Command not supported by the engine" from storage engine`),
		of(1030, "in a language of its own"),
		of(1044, "Access denied for user to database"),
		of(1045, "Access denied for user"),
		of(1048, "Column 'x' cannot be null"),
		of(1054, "Unknown column 'x'"),
		of(1062, "Duplicate entry 'No space left on device' for key 'PRIMARY'"),
		of(1064, "You have an error in your SQL syntax"),
		of(1118, "Row size too large"),
		of(1142, "INSERT command denied"),
		of(1146, "Table 'x' doesn't exist"),
		of(1153, "Got a packet bigger than 'max_allowed_packet' bytes"),
		of(1264, "Out of range value for column 'x'"),
		of(1366, "Incorrect string value"),
		of(1406, "Data too long for column 'x'"),
		of(1451, "Cannot delete or update a parent row"),
		of(1690, "BIGINT value is out of range"),
		of(3819, "Check constraint 'x' is violated"),
		of(4025, "CONSTRAINT `x` failed"),
	} {
		assert.False(t, database.Unavailable(err), "%v", err)
	}
}

// TestOutOfTime: a statement after the time of its transaction is not now, though its own time is not over; one after the end of its transaction
// is a mistake.
func TestOutOfTime(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, fstest.MapFS{"1_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (id INT);")}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := database.InTx(ctx, db, func(tx *sql.Tx) error {
		for { // until it is rolled back
			if _, err := tx.ExecContext(t.Context(), "DO 1"); err != nil {
				return err
			}
		}
	})
	require.ErrorIs(t, err, sql.ErrTxDone)
	assert.True(t, database.Unavailable(err), "%v", err)

	err = database.InTx(t.Context(), db, func(tx *sql.Tx) error {
		require.NoError(t, tx.Rollback())
		_, err := tx.ExecContext(t.Context(), "DO 1")
		return err
	})
	require.ErrorIs(t, err, sql.ErrTxDone)
	assert.False(t, database.Unavailable(err), "%v", err)
}

// TestFullServer: what a real server says when it has no room for a row or a connection reads as not now, and goes away with the cause.
func TestFullServer(t *testing.T) {
	t.Parallel()
	server, err := mysqltest.Start("--innodb-data-file-path=ibdata1:12M:autoextend:max:16M", "--innodb-undo-tablespaces=2",
		"--max-connections=10")
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	exec := func(statement string) error { return server.Exec(t.Context(), statement) }
	for _, statement := range []string{
		"CREATE DATABASE d",
		"SET GLOBAL innodb_file_per_table = OFF",
		"CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, text VARBINARY(7000) NOT NULL)",
		"CREATE USER one@'%' WITH MAX_USER_CONNECTIONS 1",
		"CREATE USER many@'%'",
	} {
		require.NoError(t, exec(statement), statement)
	}
	requireNotNow := func(number uint16, err error) {
		t.Helper()
		var me *driverconfig.MySQLError
		require.ErrorAs(t, err, &me)
		require.Equal(t, number, me.Number, "%v", err)
		require.True(t, database.Unavailable(err), "%v", err)
	}

	const row = "INSERT INTO d.t (text) VALUES (REPEAT('x', 7000))"
	requireNotNow(1114, exec("INSERT INTO d.t (text) SELECT REPEAT('x', 7000) FROM d.seq_1_to_2000"))
	require.Eventually(t, func() bool { return exec(row) == nil }, 20*time.Second, 20*time.Millisecond, "it was rolled back: there is room")

	as := func(user string) *sql.DB {
		db, err := database.Open(database.Config{DSN: user + "@tcp(" + server.Addr + ")/"})
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	one := as("one")
	held, err := one.Conn(t.Context())
	require.NoError(t, err)
	_, err = one.ExecContext(t.Context(), "DO 1")
	requireNotNow(1226, err)
	require.NoError(t, held.Close())
	_, err = one.ExecContext(t.Context(), "DO 1")
	require.NoError(t, err)

	many := as("many")
	var all []*sql.Conn
	for range 20 {
		var conn *sql.Conn
		if conn, err = many.Conn(context.WithoutCancel(t.Context())); err != nil {
			break
		}
		all = append(all, conn)
	}
	requireNotNow(1040, err)
	for _, conn := range all {
		require.NoError(t, conn.Close())
	}
	_, err = many.ExecContext(t.Context(), "DO 1")
	require.NoError(t, err)
}
