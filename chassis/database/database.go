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
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"example.com/fourfold/chassis/authorities"
	"example.com/fourfold/chassis/backoff"
)

// Config is the database part of a service's config.yaml.
type Config struct {
	// DSN is user:password@tcp(host:port)/database. Open adds the options that correctness depends on. Only tls may be set, and readTimeout,
	// whose default is 30 s.
	DSN string `yaml:"dsn"`
	// CA is a file with the certificates (PEM) of the authorities that the server's certificate must be of; the certificate must be for the host
	// of DSN. When it is empty, connections are as DSN says: plain, or with ?tls=true by the machine's authorities.
	CA string `yaml:"ca"`
	// MaxConns bounds the pool; as many idle connections are kept. Default 20.
	MaxConns int `yaml:"max_conns"`
	// Wrap, if set, stands between the pool and the driver: tests let statements fail there.
	Wrap func(driver.Connector) driver.Connector `yaml:"-"`
}

// Open returns a pool whose sessions read committed rows (so that a guard in an UPDATE sees the newest row), wait at most 2 s for a lock (less
// than the coordinator's 3 s of patience), use UTC and count matched rows as affected. It does not connect yet.
func Open(cfg Config) (*sql.DB, error) {
	c, err := mysql.ParseDSN(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("mysql.dsn: %w", err)
	}
	if cfg.CA != "" {
		if c.TLSConfig != "" && c.TLSConfig != "true" {
			return nil, fmt.Errorf("mysql.ca (MYSQL_CA) requires TLS, and mysql.dsn says tls=%s: leave one out", c.TLSConfig)
		}
		pool, err := authorities.Read(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("mysql.ca (MYSQL_CA): %w", err)
		}
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	c.ParseTime = true
	c.Loc = time.UTC
	c.InterpolateParams = true
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
	db, err := open(c, cfg.Wrap)
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

func open(c *mysql.Config, wrap func(driver.Connector) driver.Connector) (*sql.DB, error) {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("mysql.dsn: %w", err)
	}
	if wrap != nil {
		connector = wrap(connector)
	}
	return sql.OpenDB(readCommitted{connector, c}), nil
}

// readCommitted sets the isolation level on each new connection. As a DSN parameter it has two names: MariaDB knows
// tx_isolation, MySQL 8 only transaction_isolation.
type readCommitted struct {
	driver.Connector
	config *mysql.Config
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
	s := &session{conn: opened.(conn), config: c.config}
	_, err = s.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Part is the tables of a package that services share, next to a service's own: goose files, and the name under which their version is kept.
type Part struct {
	Name       string
	Migrations fs.FS
}

// Migrate migrates the database to the newest version of parts and then of the service's own migrations (goose files). Instances that start at
// the same time wait for each other. Migrate waits up to 30 s for the server to answer, and then as long as the migrations take: on a big table
// that may be minutes, and an abandoned one would go on in the server.
func Migrate(ctx context.Context, db *sql.DB, own fs.FS, parts ...Part) error {
	if err := await(ctx, db); err != nil {
		return err
	}
	db, err := unbounded(ctx, db)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	// goose has no session lock for MySQL: take the server's own, named after the database.
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('migrate:', DATABASE()), 25)").Scan(&got); err != nil {
		return fmt.Errorf("wait for other instances' migrations: %w", err)
	}
	if got.Int64 != 1 {
		return errors.New("another instance has been migrating this database for 25 s: look at its log")
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_, _ = conn.ExecContext(ctx, "SELECT RELEASE_LOCK(CONCAT('migrate:', DATABASE()))")
	}()
	var all []steps
	for _, p := range append(slices.Clone(parts), Part{Migrations: own}) {
		s, err := stepsOf(db, p)
		if err == nil {
			err = known(ctx, db, s) // of all, before anything is changed
		}
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	for _, s := range all {
		if _, err := s.Up(ctx); err != nil {
			return fmt.Errorf("migrate %s: %w", s.versions, err)
		}
	}
	return nil
}

// steps are migrations, and the table that records which of them are done.
type steps struct {
	*goose.Provider
	versions string
}

// stepsOf returns the steps of p; the service's own have no name.
func stepsOf(db *sql.DB, p Part) (steps, error) {
	versions := goose.DefaultTablename
	if p.Name != "" {
		versions = p.Name + "_version"
	}
	store, err := database.NewStore(database.DialectMySQL, versions)
	if err != nil {
		return steps{}, fmt.Errorf("read the migrations: %w", err)
	}
	provider, err := goose.NewProvider("", db, p.Migrations, goose.WithStore(store), goose.WithVerbose(false))
	if err != nil {
		return steps{}, fmt.Errorf("read the migrations: %w", err)
	}
	return steps{provider, versions}, nil
}

// known fails when the database has taken a step that is not among all and lies before their last: its tables come of other steps, and
// these would not fit. A later step is one of a newer program, beside which this one may run.
func known(ctx context.Context, db *sql.DB, all steps) error {
	sources := all.ListSources()
	rows, err := db.QueryContext(ctx, "SELECT version_id FROM "+all.versions+" WHERE version_id > 0 AND is_applied")
	var missing *mysql.MySQLError
	if errors.As(err, &missing) && missing.Number == 1146 {
		return nil // the first start
	}
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var taken int64
		if err := rows.Scan(&taken); err != nil {
			return err
		}
		if taken < sources[len(sources)-1].Version && !slices.ContainsFunc(sources, func(s *goose.Source) bool { return s.Version == taken }) {
			return fmt.Errorf("the tables are of an older version (step %d in %s), and there is no way from those: start with an empty database",
				taken, all.versions)
		}
	}
	return rows.Err()
}

// unbounded returns a pool like db, which was made by Open, but without the time limits of calls.
func unbounded(ctx context.Context, db *sql.DB) (*sql.DB, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	var c *mysql.Config
	err = conn.Raw(func(c2 any) error {
		s, ok := c2.(*session)
		if !ok {
			return fmt.Errorf("migrate a database that mysql.Open opened, not one of %T", c2)
		}
		c = s.config.Clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.ReadTimeout, c.WriteTimeout = 0, 0
	c.Params["innodb_lock_wait_timeout"] = "60"
	return open(c, nil)
}

func await(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the database does not answer: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// mostTries bounds InTx: with its pauses, some 300 ms.
const mostTries = 16

// InTx runs fn in a local transaction and commits it, or rolls back when fn fails. The victim of a deadlock is run again after a pause that
// varies, so that two do not meet again and again; fn must set its results anew each time. An error of the commit is ambiguous.
func InTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	once := func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Commit()
	}
	for attempt := 1; ; attempt++ {
		err := once()
		if attempt == mostTries || !Deadlock(err) || ctx.Err() != nil {
			return err
		}
		backoff.Sleep(ctx, rand.N(min(time.Duration(attempt)*10*time.Millisecond, 50*time.Millisecond)))
	}
}
