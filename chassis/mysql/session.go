package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/go-sql-driver/mysql"
)

// session is a connection whose COMMIT and ROLLBACK are not waited for without end. The driver bounds every statement by its
// context but these two: while it waits for a server that has gone silent, the rows of the transaction stay locked there.
type session struct {
	conn
	config *mysql.Config
	// spent: the transaction may be open still. The connection is not used again.
	spent bool
}

// conn is what the driver's connection offers to database/sql.
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

// endPatience bounds the end of a transaction, in which nothing waits for a lock.
const endPatience = 3 * time.Second

func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if _, err := s.conn.BeginTx(ctx, opts); err != nil {
		return nil, err
	}
	return transaction{s, ctx}, nil
}

func (s *session) IsValid() bool { return !s.spent && s.conn.IsValid() }

// transaction ends by the statements that the driver would send.
type transaction struct {
	s   *session
	ctx context.Context
}

// Commit waits until the transaction's deadline, not longer than endPatience. That the caller left does not end it: the
// outcome would be unknown for nothing.
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
		return mysql.ErrInvalidConn // ErrBadConn would say that it may simply be done again
	}
	return err
}
