package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/go-sql-driver/mysql"
)

// session is a connection whose COMMIT and ROLLBACK have a deadline. The driver bounds every statement but these two by its context: while it
// waits for a server that has gone silent, the rows of the transaction stay locked there.
type session struct {
	conn
	// migrate is by which Migrate connects.
	migrate *mysql.Config
	// spent says that a transaction may still be open. The connection is not used again.
	spent bool
}

// conn is the methods that the driver's connection has for database/sql.
type conn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// endPatience bounds COMMIT and ROLLBACK, which wait for no lock.
const endPatience = 3 * time.Second

func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if _, err := s.conn.BeginTx(ctx, opts); err != nil {
		return nil, err
	}
	return transaction{s, ctx}, nil
}

func (s *session) IsValid() bool { return !s.spent && s.conn.IsValid() }

// transaction ends with the statements that the driver would send.
type transaction struct {
	s   *session
	ctx context.Context
}

// Commit waits until the transaction's deadline, at most endPatience. It goes on when the caller leaves: otherwise the outcome would be unknown
// without need.
func (t transaction) Commit() error {
	until := time.Now().Add(endPatience)
	if deadline, ok := t.ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return t.end("COMMIT", until)
}

func (t transaction) Rollback() error { return t.end("ROLLBACK", time.Now().Add(endPatience)) }

func (t transaction) end(statement string, until time.Time) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(t.ctx), until)
	defer cancel()
	_, err := t.s.conn.ExecContext(ctx, statement, nil)
	t.s.spent = t.s.spent || err != nil
	if errors.Is(err, driver.ErrBadConn) {
		return mysql.ErrInvalidConn // ErrBadConn would say that it may be repeated
	}
	return err
}
