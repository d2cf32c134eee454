package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/dtm-labs/dtm/dtmsvr/config"
	driver "github.com/go-sql-driver/mysql"

	"example.com/fourfold/chassis/authorities"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/deploy/dtm/migrations"
)

// migrate brings the log's schema up to date, on connections of its own: no limit of limitStatements holds for them, as a migration may take
// long.
func migrate(ctx context.Context, store config.Store, as login) error {
	db, err := openStore(store, as)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	err = database.Migrate(ctx, db, migrations.FS)
	if e := new(driver.MySQLError); database.Denied(err) && errors.As(err, &e) {
		err = fmt.Errorf("%w: STORE_MIGRATE_USER (else STORE_USER) must be an account that may change the tables", e)
	}
	if err != nil {
		return fmt.Errorf("database %s at %s:%d: %w", store.Db, store.Host, store.Port, err)
	}
	return nil
}

// openStore returns a small pool of our own on the transaction log, for the migration, recovery, the retries and the retention. It does not
// connect yet.
func openStore(store config.Store, migrate login) (*sql.DB, error) {
	dsn := func(as login) string {
		c := driver.NewConfig()
		c.User, c.Passwd = as.user, as.password
		c.Net, c.Addr = "tcp", net.JoinHostPort(store.Host, fmt.Sprint(store.Port))
		c.DBName = store.Db
		c.TLSConfig = os.Getenv("STORE_TLS")
		return c.FormatDSN()
	}
	running := login{store.User, store.Password}
	return database.Open(database.Config{DSN: dsn(running), MigrateDSN: dsn(cmp.Or(migrate, running)), MaxConns: 6})
}

// requireTLS makes every connection to the log use TLS with a server whose certificate is of the authorities in the file ca (PEM).
func requireTLS(ca string) error {
	pool, err := authorities.Read(ca)
	if err != nil {
		return fmt.Errorf("MYSQL_CA: %w", err)
	}
	const name = "mysql_ca"
	return errors.Join(driver.RegisterTLSConfig(name, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}), os.Setenv("STORE_TLS", name))
}

// retain returns background work that deletes finished transactions after keep, and the branches of deleted transactions; DTM keeps both for
// ever in an SQL store. Unfinished transactions are never touched.
func retain(db *sql.DB, keep time.Duration) func(context.Context) error {
	return database.Retain(db,
		database.Retention{Table: "trans_global", Column: "update_time", Where: "status IN ('succeed', 'failed')", Keep: keep},
		database.Retention{Table: "trans_branch_op", Column: "create_time", Where: "gid NOT IN (SELECT gid FROM trans_global)", Keep: keep})
}

// limitStatements makes every statement on a connection opened from now on fail when the database is silent for timeout. DTM sets no limit, so a
// frozen database would block its callers and its recovery workers without end.
func limitStatements(timeout time.Duration) {
	driver.RegisterDialContext("tcp", func(ctx context.Context, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: min(timeout, 2*time.Second)}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return limitedConn{conn.(*net.TCPConn), timeout}, nil
	})
}

// limitedConn gives up a read or write after timeout. The driver reads only when it waits for an answer.
type limitedConn struct {
	*net.TCPConn
	timeout time.Duration
}

func (c limitedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	n, err := c.TCPConn.Read(p)
	// The driver checks idle connections without this type: a deadline left set would make them seem broken.
	if reset := c.SetReadDeadline(time.Time{}); err == nil {
		err = reset
	}
	return n, err
}

func (c limitedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}
