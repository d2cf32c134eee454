package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// localSQL are the statements of one payment in one local transaction, in parts of one participant each.
//
//go:embed local.sql
var localSQL string

// statement is one of localSQL: its text with question marks, and the names of what they stand for.
type statement struct {
	text  string
	names []string
}

// part are the statements in one participant's database.
type part []statement

var placeholder = regexp.MustCompile(`:[a-z]+`)

// parse returns the parts of localSQL, in its order.
func parse(text string) (parts []part) {
	database := ""
	for piece := range strings.SplitSeq(text, ";") {
		var lines []string
		for line := range strings.SplitSeq(piece, "\n") {
			if line != "" && !strings.HasPrefix(line, "--") {
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			continue
		}
		s := statement{}
		s.text = placeholder.ReplaceAllStringFunc(strings.Join(lines, " "), func(name string) string {
			s.names = append(s.names, name[1:])
			return "?"
		})
		of := regexp.MustCompile(`bench_\w+`).FindString(s.text)
		if of != database {
			parts, database = append(parts, nil), of
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], s)
	}
	return parts
}

// copied are the tables of localSQL.
var copied = map[string][]string{
	"order":     {"orders", "order_event", "mq_outbox", "mq_timer"},
	"inventory": {"stock", "stock_freeze"},
	"credit":    {"credit_account", "credit_entry"},
	"wms":       {"delivery_slip", "delivery_line"},
}

// local makes the row changes of a payment without services, on a server that has its tables.
type local struct {
	db    *sql.DB // as root
	parts []part
	skus  []string
	// members have an account each.
	members []string
	// taking is held while a payment takes its connections.
	taking sync.Mutex
	// paid is how many payments were made up to the last call of books.
	paid int
}

// openLocal makes fresh copies of the services' tables, with skus and members.
func openLocal(ctx context.Context, db *sql.DB, skus, members []string) (*local, error) {
	l := &local{db: db, parts: parse(localSQL), skus: skus, members: members}
	for service, tables := range copied {
		statements := []string{"DROP DATABASE IF EXISTS bench_" + service, "CREATE DATABASE bench_" + service}
		for _, t := range tables {
			statements = append(statements, fmt.Sprintf("CREATE TABLE bench_%[1]s.%[2]s LIKE shop_%[1]s.%[2]s", service, t))
		}
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s); err != nil {
				return nil, err
			}
		}
	}
	const units = 1_000_000_000
	err := insert(ctx, db, "INSERT INTO bench_inventory.stock (sku, sellable, received) VALUES ", len(skus),
		func(i int) []any { return []any{skus[i], units, units} })
	if err == nil {
		err = insert(ctx, db, "INSERT INTO bench_credit.credit_account (member_id) VALUES ", len(members),
			func(i int) []any { return []any{members[i]} })
	}
	return l, err
}

// insert adds n rows, a few hundred with a statement.
func insert(ctx context.Context, db *sql.DB, into string, n int, row func(i int) []any) error {
	const most = 500
	for from := 0; from < n; from += most {
		var rows []string
		var values []any
		for i := from; i < min(from+most, n); i++ {
			v := row(i)
			rows = append(rows, "("+strings.Repeat("?, ", len(v)-1)+"?)")
			values = append(values, v...)
		}
		if _, err := db.ExecContext(ctx, into+strings.Join(rows, ", "), values...); err != nil {
			return err
		}
	}
	return nil
}

// job is one payment to be made: a member's order of one unit of a product.
type job struct{ order, member, sku string }

// orders adds n orders that are to be paid.
func (l *local) orders(ctx context.Context, n int, hot bool) ([]job, error) {
	jobs := make([]job, n)
	for i := range jobs {
		jobs[i] = job{uuid.Must(uuid.NewV7()).String(), l.members[i%len(l.members)], pick(l.skus, i, hot)}
	}
	err := insert(ctx, l.db, "INSERT INTO bench_order.orders (id, member_id, status, total_cents, points, address, expires_at, event_seq) VALUES ", n,
		func(i int) []any {
			return []any{jobs[i].order, jobs[i].member, "CREATED", 1000, 10, "", "2099-01-01", 1}
		})
	if err == nil {
		err = insert(ctx, l.db, "INSERT INTO bench_order.mq_timer (id, due_at, event, wake, state) VALUES ", n,
			func(i int) []any { return []any{jobs[i].order, "2099-01-01", example, jobs[i].order, "ARMED"} })
	}
	return jobs, err
}

// pick returns the product of the i-th order: always the same one when it is hot.
func pick(skus []string, i int, hot bool) string {
	if hot {
		return skus[0]
	}
	return skus[i%len(skus)]
}

// example is an event as long as that of a payment.
var example = strings.Repeat("x", 700)

// values returns what the placeholders of one payment stand for.
func (j job) values() map[string]any {
	return map[string]any{"order": j.order, "member": j.member, "sku": j.sku, "data": example,
		"event": uuid.NewString(), "gid": uuid.NewString(), "slip": uuid.NewString()}
}

// once pays in one local transaction.
func (l *local) once(ctx context.Context, j job) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	values := j.values()
	for _, p := range l.parts {
		if err := p.run(ctx, tx, values); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// run makes the changes; each must change a row.
func (p part) run(ctx context.Context, on execer, values map[string]any) error {
	for _, s := range p {
		var args []any
		for _, name := range s.names {
			args = append(args, values[name])
		}
		res, err := on.ExecContext(ctx, s.text, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("changed %d rows: %s: %w", n, s.text, err)
		}
	}
	return nil
}

// inTwoPhases pays in one XA transaction, a branch for each participant on a connection of its own, all at the same time.
func (l *local) inTwoPhases(ctx context.Context, j job) error {
	values := j.values()
	conns := make([]*sql.Conn, len(l.parts))
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	// One after another: two payments that each hold some connections and wait for more would wait for ever.
	l.taking.Lock()
	for i := range conns {
		var err error
		if conns[i], err = l.db.Conn(ctx); err != nil {
			l.taking.Unlock()
			return err
		}
	}
	l.taking.Unlock()
	all := func(do func(c *sql.Conn, xid string, p part) error) error {
		var g errgroup.Group
		for i, p := range l.parts {
			g.Go(func() error { return do(conns[i], fmt.Sprintf("'%s','%d'", values["gid"], i), p) })
		}
		return g.Wait()
	}
	err := all(func(c *sql.Conn, xid string, p part) error {
		if _, err := c.ExecContext(ctx, "XA START "+xid); err != nil {
			return err
		}
		err := p.run(ctx, c, values)
		_, ended := c.ExecContext(ctx, "XA END "+xid)
		if err = errors.Join(err, ended); err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, "XA PREPARE "+xid)
		return err
	})
	decision := "XA COMMIT "
	if err != nil {
		decision = "XA ROLLBACK "
	}
	return errors.Join(err, all(func(c *sql.Conn, xid string, _ part) error {
		_, err := c.ExecContext(ctx, decision+xid)
		return err
	}))
}

// books returns how many payments were made since the last call, and an error unless each changed all four databases, and nothing else did.
func (l *local) books(ctx context.Context) (int, error) {
	var wrong, paid int
	err := l.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM (
		SELECT o.id FROM bench_order.orders o
		LEFT JOIN bench_order.mq_outbox e ON e.subject = o.id
		LEFT JOIN bench_inventory.stock_freeze f ON f.order_id = o.id
		LEFT JOIN bench_credit.credit_entry c ON c.source = o.id
		LEFT JOIN bench_wms.delivery_slip d ON d.order_id = o.id
		WHERE NOT (o.status = 'PAID' AND e.type <=> 'order.paid' AND f.status <=> 'DEDUCTED' AND c.status <=> 'ADDED' AND d.status <=> 'CREATED')
		AND NOT (o.status = 'CREATED' AND COALESCE(e.type, f.status, c.status, d.status) IS NULL)
		UNION ALL SELECT s.sku FROM bench_inventory.stock s
		LEFT JOIN (SELECT sku, SUM(quantity) n FROM bench_inventory.stock_freeze GROUP BY sku) f ON f.sku = s.sku
		WHERE s.sold <> COALESCE(f.n, 0) OR s.frozen <> 0
		UNION ALL SELECT a.member_id FROM bench_credit.credit_account a
		LEFT JOIN (SELECT member_id, SUM(points) n FROM bench_credit.credit_entry GROUP BY member_id) c ON c.member_id = a.member_id
		WHERE a.credit <> COALESCE(c.n, 0) OR a.prepare_add_credit <> 0) wrong`).Scan(&wrong)
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d rows of orders, products and members do not add up", wrong)
	}
	if err == nil {
		err = l.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM bench_order.orders WHERE status = 'PAID'").Scan(&paid)
	}
	made := paid - l.paid
	l.paid = paid
	return made, err
}
