package database_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	driverconfig "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// atCommit returns a database that is reached in two ways: directly, and through a network that calls meet before it passes on a COMMIT. When
// meet returns false, it passes on nothing more on that connection.
func atCommit(t *testing.T, meet func() bool) (via, direct *sql.DB) {
	t.Helper()
	dsn := mysqltest.DSN(t)
	cfg, err := driverconfig.ParseDSN(dsn)
	require.NoError(t, err)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	server := cfg.Addr
	go func() {
		for {
			client, err := lis.Accept()
			if err != nil {
				return
			}
			go relay(client, server, meet)
		}
	}()
	cfg.Addr = lis.Addr().String()
	via, err = database.Open(database.Config{DSN: cfg.FormatDSN()})
	require.NoError(t, err)
	direct, err = database.Open(database.Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = via.Close(), direct.Close() })
	require.NoError(t, database.Migrate(t.Context(), direct, fstest.MapFS{
		"0001_counter.sql": {Data: []byte(
			"-- +goose Up\nCREATE TABLE counter (id INT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO counter VALUES (1, 0);")},
	}))
	return via, direct
}

func relay(client net.Conn, server string, meet func() bool) {
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	go func() { _, _ = io.Copy(client, upstream) }()
	packet := make([]byte, 1<<16)
	for silent := false; ; {
		n, err := client.Read(packet)
		if err != nil {
			return
		}
		if bytes.Contains(packet[:n], []byte("\x03COMMIT")) && !meet() {
			silent = true
		}
		if silent {
			continue
		}
		if _, err := upstream.Write(packet[:n]); err != nil {
			return
		}
	}
}

func count(ctx context.Context, db *sql.DB) error {
	return database.InTx(ctx, db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = 1")
		return err
	})
}

// TestSilentAtCommit: a COMMIT that the server does not answer ends at the deadline, or after a few seconds when there is none, and then the
// rows are free again.
func TestSilentAtCommit(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]struct{ deadline, most time.Duration }{
		"deadline": {500 * time.Millisecond, time.Second},
		"none":     {time.Hour, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var met atomic.Int64
			via, direct := atCommit(t, func() bool { return met.Add(1) > 1 })
			ctx, cancel := context.WithTimeout(t.Context(), limits.deadline)
			defer cancel()
			began := time.Now()
			err := count(ctx, via)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(began), limits.most)
			require.NoError(t, count(t.Context(), direct), "the row is not locked any more")
			require.NoError(t, count(t.Context(), via), "the pool goes on with another connection")
			var n int
			require.NoError(t, direct.QueryRowContext(t.Context(), "SELECT n FROM counter").Scan(&n))
			require.Equal(t, 2, n)
		})
	}
}

// TestCallerLeavesAtCommit: the outcome is still waited for.
func TestCallerLeavesAtCommit(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	via, _ := atCommit(t, func() bool {
		leave()
		time.Sleep(100 * time.Millisecond) // the answer comes a while later
		return true
	})
	require.NoError(t, count(ctx, via))
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

// TestUnsentCommit: a connection whose transaction may still be open is not used again: the next BEGIN would commit it.
func TestUnsentCommit(t *testing.T) {
	t.Parallel()
	_, db := atCommit(t, nil)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_ = conn.Raw(func(dc any) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		tx, err := dc.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{})
		require.NoError(t, err)
		assert.True(t, dc.(driver.Validator).IsValid())
		<-ctx.Done()
		require.ErrorIs(t, tx.Commit(), context.DeadlineExceeded)
		assert.False(t, dc.(driver.Validator).IsValid())
		return nil
	})
}
