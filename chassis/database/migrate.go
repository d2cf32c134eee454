package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// Part is the tables of a package that services share, next to a service's own: goose files, and the name under which their version is kept.
type Part struct {
	Name       string
	Migrations fs.FS
}

// Migrate migrates the database of db, which Open opened, to the newest version of parts and then of the service's own migrations (goose files).
// It does so on connections of MigrateDSN, which it closes. Instances that start at the same time wait for each other. Migrate waits up to 30 s
// for the server to answer, and then as long as the migrations take: on a big table that may be minutes, and an abandoned one would go on in the
// server.
func Migrate(ctx context.Context, db *sql.DB, own fs.FS, parts ...Part) error {
	if err := await(ctx, db); err != nil {
		return err
	}
	db, err := migrating(ctx, db)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	// goose has no session lock for MySQL: take the server's own, named after the database.
	conn, err := db.Conn(ctx)
	if err != nil {
		return remedied(err)
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
			return remedied(err)
		}
		all = append(all, s)
	}
	for _, s := range all {
		if _, err := s.Up(ctx); err != nil {
			return fmt.Errorf("migrate %s: %w", s.versions, remedied(err))
		}
	}
	return nil
}

// remedied returns the error of a migration. When the server denied a login or a statement, the error says which setting is about that.
func remedied(err error) error {
	if Denied(err) {
		return fmt.Errorf("%w: mysql.migrate_dsn (else mysql.dsn) must have an account that may change the tables", err)
	}
	return err
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

// migrating returns a pool for the migrations of db, which was made by Open.
func migrating(ctx context.Context, db *sql.DB) (*sql.DB, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	var c *mysql.Config
	err = conn.Raw(func(c2 any) error {
		s, ok := c2.(*session)
		if !ok {
			return fmt.Errorf("migrate a database that database.Open opened, not one of %T", c2)
		}
		c = s.migrate
		return nil
	})
	if err != nil {
		return nil, err
	}
	return open(c, c, nil)
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
