// Package database opens and migrates a service's own database. The SQL runs on MariaDB 10.11 and MySQL 8.
package database

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"example.com/fourfold/chassis/authorities"
	"example.com/fourfold/chassis/backoff"
)

// Config is the database part of a service's config.yaml.
type Config struct {
	// DSN is user:password@tcp(host:port)/database. Open adds the options that correctness depends on. Only tls may be set, and readTimeout,
	// whose default is 30 s. Its account needs Privileges.
	DSN string `yaml:"dsn"`
	// MigrateDSN is the address of the same database for an account that may change its tables. Only Migrate uses it. DSN when empty.
	MigrateDSN string `yaml:"migrate_dsn"`
	// CA is a file with the certificates (PEM) of the authorities that the server's certificate must be of; the certificate must be for the host
	// of DSN. When it is empty, connections are as DSN says: plain, or with ?tls=true by the machine's authorities.
	CA string `yaml:"ca"`
	// MaxConns bounds the pool; as many idle connections are kept. Default 20.
	MaxConns int `yaml:"max_conns"`
	// Wrap, if set, stands between the pool and the driver: tests let statements fail there.
	Wrap func(driver.Connector) driver.Connector `yaml:"-"`
}

// Privileges are what the statements of a service need in its own database, migrations apart.
const Privileges = "SELECT, INSERT, UPDATE, DELETE"

// Open returns a pool whose sessions read committed rows (so that a guard in an UPDATE sees the newest row), wait at most 2 s for a lock (less
// than the coordinator's 3 s of patience), use UTC and count matched rows as affected. It does not connect yet.
func Open(cfg Config) (*sql.DB, error) {
	c, err := cfg.parse("mysql.dsn", cfg.DSN)
	if err != nil {
		return nil, err
	}
	migrate := c.Clone()
	if cfg.MigrateDSN != "" {
		if migrate, err = cfg.parse("mysql.migrate_dsn", cfg.MigrateDSN); err != nil {
			return nil, err
		}
	}
	if migrate.DBName != c.DBName {
		return nil, fmt.Errorf("mysql.migrate_dsn names the database %q, and mysql.dsn %q: it must be the same", migrate.DBName, c.DBName)
	}
	// A migration may take long.
	migrate.ReadTimeout, migrate.WriteTimeout = 0, 0
	migrate.Params["innodb_lock_wait_timeout"] = "60"
	db, err := open(c, migrate, cfg.Wrap)
	if err != nil {
		return nil, err
	}
	n := cfg.MaxConns
	if n <= 0 {
		n = 20
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxLifetime(10 * time.Minute)
	return db, nil
}

// parse returns the configuration of the setting called name, with the options that correctness depends on.
func (cfg Config) parse(name, dsn string) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if cfg.CA != "" {
		if c.TLSConfig != "" && c.TLSConfig != "true" {
			return nil, fmt.Errorf("mysql.ca (MYSQL_CA) requires TLS, and %s says tls=%s: leave one out", name, c.TLSConfig)
		}
		pool, err := authorities.Read(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("mysql.ca (MYSQL_CA): %w", err)
		}
		c.TLS, c.AllowFallbackToPlaintext = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, false
	}
	c.ParseTime = true
	c.Loc = time.UTC
	c.InterpolateParams = true
	c.MultiStatements = true // for package batch; every statement is a constant of ours, values are parameters
	c.ClientFoundRows = true
	c.Timeout = 2 * time.Second
	// A frozen server must not block a call for ever; no statement of a call takes this long.
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 30*time.Second)
	c.WriteTimeout = 10 * time.Second
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	c.Params["innodb_lock_wait_timeout"] = "2"
	c.Params["time_zone"] = "'+00:00'"
	c.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
	return c, nil
}

func open(c, migrate *mysql.Config, wrap func(driver.Connector) driver.Connector) (*sql.DB, error) {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("mysql.dsn: %w", err)
	}
	if wrap != nil {
		connector = wrap(connector)
	}
	return sql.OpenDB(readCommitted{connector, migrate}), nil
}

// readCommitted sets the isolation level on each new connection. As a DSN parameter it has two names: MariaDB knows
// tx_isolation, MySQL 8 only transaction_isolation.
type readCommitted struct {
	driver.Connector
	migrate *mysql.Config // by which Migrate connects
}

func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused), errors.Is(err, mysql.ErrNoTLS):
		return nil, fmt.Errorf("TLS with the database, by mysql.ca (MYSQL_CA) or tls= in mysql.dsn: %w", err)
	case err != nil:
		return nil, err
	}
	s := &session{conn: opened.(conn), migrate: c.migrate}
	_, err = s.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// mostTries bounds Again: with its pauses, some 300 ms.
const mostTries = 16

// Again reports whether a transaction that failed with err is to be made again: the database ended a deadlock by undoing it, and this attempt,
// the first is 1, was not the last. It returns after a pause that varies, so that two do not meet again and again.
func Again(ctx context.Context, attempt int, err error) bool {
	if attempt == mostTries || !Deadlock(err) || ctx.Err() != nil {
		return false
	}
	backoff.Sleep(ctx, rand.N(min(time.Duration(attempt)*10*time.Millisecond, 50*time.Millisecond)))
	return true
}

// InTx runs fn in a local transaction and commits it, or rolls back when fn fails. The victim of a deadlock is run Again; fn must set its
// results anew each time. An error of the commit is ambiguous.
func InTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	once := func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if err := fn(tx); err != nil {
			return InTime(ctx, err)
		}
		return tx.Commit()
	}
	for attempt := 1; ; attempt++ {
		err := once()
		if !Again(ctx, attempt, err) {
			return err
		}
	}
}
