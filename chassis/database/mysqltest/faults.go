package mysqltest

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"sync"

	"github.com/go-sql-driver/mysql"
	"google.golang.org/grpc/metadata"
)

// Fault is a way in which a database fails a statement.
type Fault string

// The faults. After all but LockWait the connection is broken.
const (
	// LockWait: the statement waited too long for a lock. What begins or ends a transaction never does, and passes.
	LockWait Fault = "lock wait time-out"
	// Lost: the statement does not reach the server.
	Lost Fault = "statement lost"
	// Unanswered: the server executes the statement, and its answer is lost.
	Unanswered Fault = "answer lost"
	// Late: the call's time is over, so neither this statement nor any later one of the call reaches the server.
	Late Fault = "time over"
)

// AllFaults returns every fault.
func AllFaults() []Fault { return []Fault{LockWait, Lost, Unanswered, Late} }

// Faults lets chosen statements of chosen calls fail. Its Wrap is for database.Config. Statements of other calls and of background work are left
// alone: a call is known by metadata that its client sends, so it may work in any number of goroutines.
type Faults struct {
	mu    sync.Mutex
	plans map[string]*Plan
}

// NewFaults returns Faults without plans.
func NewFaults() *Faults { return &Faults{plans: map[string]*Plan{}} }

// mark is the key of the metadata by which a call is known.
const mark = "test-plan"

// Plan is what is to happen to the statements of one call.
type Plan struct {
	id     string
	fault  Fault
	before func()
	n      int

	mu   sync.Mutex
	seen int
}

// Plan lets the nth statement of a call, counted from 1, meet fault. The call is the one that is made with the Context of the Plan.
func (f *Faults) Plan(fault Fault, n int) *Plan {
	return f.add(&Plan{id: rand.Text(), fault: fault, n: n})
}

// Before calls happen before the nth statement of a call, counted from 1, which waits until happen returns. No statement fails. The call is the
// one that is made with the Context of the Plan.
func (f *Faults) Before(n int, happen func()) *Plan {
	return f.add(&Plan{id: rand.Text(), before: happen, n: n})
}

func (f *Faults) add(p *Plan) *Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plans[p.id] = p
	return p
}

// Context returns the context with which to make the call.
func (p *Plan) Context(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, mark, p.id)
}

// Statements returns how many statements the call has sent, or tried to send.
func (p *Plan) Statements() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// next returns the fault of the next statement of the call that ctx belongs to, "" for none.
func (f *Faults) next(ctx context.Context) Fault {
	md, _ := metadata.FromIncomingContext(ctx)
	ids := md.Get(mark)
	if len(ids) == 0 {
		return ""
	}
	f.mu.Lock()
	p := f.plans[ids[0]]
	f.mu.Unlock()
	p.mu.Lock()
	p.seen++
	seen := p.seen
	p.mu.Unlock()
	if seen == p.n && p.before != nil {
		p.before()
	}
	if seen == p.n || p.fault == Late && seen > p.n {
		return p.fault
	}
	return ""
}

// Wrap returns c with faults.
func (f *Faults) Wrap(c driver.Connector) driver.Connector { return faultyConnector{c, f} }

type faultyConnector struct {
	driver.Connector
	faults *Faults
}

func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return faultyConn{opened.(conn), c.faults}, nil
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

type faultyConn struct {
	conn
	faults *Faults
}

// meet runs statement, or lets it fail. bounds says that it begins or ends a transaction.
func (c faultyConn) meet(ctx context.Context, bounds bool, statement func() error) error {
	switch c.faults.next(ctx) {
	case LockWait:
		if !bounds {
			return &mysql.MySQLError{Number: 1205, SQLState: [5]byte([]byte("HY000")), Message: "Lock wait timeout exceeded"}
		}
	case Lost:
		_ = c.Close()
		return mysql.ErrInvalidConn
	case Unanswered:
		_ = statement()
		_ = c.Close()
		return mysql.ErrInvalidConn
	case Late:
		_ = c.Close()
		return context.DeadlineExceeded
	}
	return statement()
}

func (c faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	err = c.meet(ctx, true, func() error {
		tx, err = c.conn.BeginTx(ctx, opts)
		return err
	})
	return tx, err
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	err = c.meet(ctx, query == "COMMIT" || query == "ROLLBACK", func() error {
		result, err = c.conn.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

func (c faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = c.meet(ctx, false, func() error {
		rows, err = c.conn.QueryContext(ctx, query, args)
		return err
	})
	return rows, err
}
