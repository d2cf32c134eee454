package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/database"
)

// A database that is restored from a backup counts on from the numbers that it had then, and its followers have seen those numbers. So it begins
// a new generation: the numbers of each subject begin at 1 again, and groups keep their positions by generation. An event that is sent twice is
// the same event by its id, whatever its generation.

// Numbered is a table whose rows count the events about them.
type Numbered struct {
	Table string
	// Number is the column that counts, and Base the one with the count at which the current generation began. Events are published with the
	// difference.
	Number, Base string
}

// ErrInUse means that somebody works on the database.
var ErrInUse = errors.New("the database is in use")

// CurrentGeneration returns the generation of db, empty in the first.
func CurrentGeneration(ctx context.Context, db *sql.DB) (id string, err error) {
	return currentGeneration(ctx, db)
}

// querier is an *sql.DB or an *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func currentGeneration(ctx context.Context, q querier) (id string, err error) {
	err = q.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), '') FROM mq_generation").Scan(&id)
	return id, err
}

// BeginGeneration begins a new generation in db, in which the events about the rows of tables are numbered from 1, and returns its id.
// Generations sort by time. A running instance would go on publishing in the generation in which it began, so BeginGeneration returns ErrInUse
// while the database's user has another connection.
func BeginGeneration(ctx context.Context, db *sql.DB, tables []Numbered) (id string, err error) {
	if err := awaitAlone(ctx, db); err != nil {
		return "", err
	}
	id = NewID()
	err = database.InTx(ctx, db, func(tx *sql.Tx) error {
		for _, t := range tables {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET %s = %s WHERE %[2]s <> %[3]s", t.Table, t.Base, t.Number)); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO mq_generation (id) VALUES (?)", id)
		return err
	})
	return id, err
}

// awaitAlone returns nil when the database's user has no connection but the one of db, which a connection that was just closed may take a moment
// to be true.
func awaitAlone(ctx context.Context, db *sql.DB) error {
	for n := 1; ; n++ {
		var others int
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()
			AND id <> CONNECTION_ID()`).Scan(&others); err != nil || others == 0 {
			return err
		}
		if n == 20 {
			return fmt.Errorf("%w: %d other connection(s): stop all instances of the service first", ErrInUse, others)
		}
		backoff.Sleep(ctx, 100*time.Millisecond)
	}
}
