package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A family is what a number of calls left in the tables of all services and of the coordinator: the rows that are made again, with other ids,
// until it is as if there had been a thousand times as many calls. Which tables and columns these are is read from the database.
//
// The ids of a call's rows are UUIDs of version 7, which begin with the time: those of the n-th copy are n spans older, and so are its times, as if
// the same calls had been made then. So copies lie where older rows do, before those that are made after them. What is ahead lies further ahead.
type family struct {
	db     *sql.DB
	name   string
	tables []*grown
	// from and to bound the ids that the calls made; span is a multiple of slot.
	from, to string
	span     time.Duration
	// copies are made so far.
	copies int
}

// grown is a table that grew by the calls.
type grown struct {
	schema, name string
	columns      []column
	// rows are how many the calls left.
	rows int
}

// column is a column to be copied: value is its expression for the copy with the number s.seq of the row t.
type column struct{ name, value string }

// slot is how much later a UUID of version 7 is whose first eight digits are one more.
const slot = 65536 * time.Millisecond

// counts are the numbers of rows of all tables, by schema and name.
type counts map[[2]string]int

// countRows counts the rows of all tables of the shop.
func countRows(ctx context.Context, db *sql.DB) (counts, error) {
	rows, err := db.QueryContext(ctx, `SELECT table_schema, table_name FROM information_schema.tables
		WHERE table_schema LIKE 'shop\_%' AND table_type = 'BASE TABLE'`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	c := counts{}
	for rows.Next() {
		var at [2]string
		if err := rows.Scan(&at[0], &at[1]); err != nil {
			return nil, err
		}
		c[at] = 0
	}
	for at := range c {
		var n int
		if err := db.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) FROM %s.%s", at[0], at[1])).Scan(&n); err != nil {
			return nil, err
		}
		c[at] = n
	}
	return c, rows.Err()
}

// newFamily makes calls and keeps what they leave: rows of each table that grew by at least half a row for each of n, or of those among them
// that are named.
func newFamily(ctx context.Context, db *sql.DB, name string, n int, calls func(context.Context) error, only ...string) (*family, error) {
	before, err := atRest(ctx, db) // what is still done for calls of before would be taken for theirs
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := calls(ctx); err != nil {
		return nil, err
	}
	after, err := atRest(ctx, db)
	if err != nil {
		return nil, err
	}
	ended := time.Now().Add(time.Millisecond)
	f := &family{db: db, name: name, from: firstID(began), to: firstID(ended),
		span: slot * time.Duration(1+ended.UnixMilli()/slot.Milliseconds()-began.UnixMilli()/slot.Milliseconds())}
	for at, rows := range after {
		if rows-before[at] >= n/2 && (len(only) == 0 || slices.Contains(only, at[0]+"."+at[1])) {
			f.tables = append(f.tables, &grown{schema: at[0], name: at[1]})
		}
	}
	slices.SortFunc(f.tables, func(a, b *grown) int { return strings.Compare(a.String(), b.String()) })
	for _, t := range f.tables {
		if err := f.keep(ctx, t); err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
	}
	return f, nil
}

// atRest waits until no row is added any more, as by an event that is under way at the broker, and counts the rows.
func atRest(ctx context.Context, db *sql.DB) (counts, error) {
	last, err := countRows(ctx, db)
	for over := time.Now().Add(time.Minute); err == nil && time.Now().Before(over); {
		time.Sleep(2 * time.Second)
		var now counts
		if now, err = countRows(ctx, db); err == nil && maps.Equal(now, last) {
			return now, nil
		}
		last = now
	}
	return nil, cmp.Or(err, errors.New("rows are still added after a minute"))
}

// firstID returns what is smaller than each UUID of version 7 that was made since t.
func firstID(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:]
}

func (t *grown) String() string { return t.schema + "." + t.name }

// kept is the table of the rows that are copied.
func (f *family) kept(t *grown) string {
	return "bench_growth." + f.name + "__" + t.schema + "__" + t.name
}

// keep finds out how t's columns are copied, and keeps its rows of the calls.
func (f *family) keep(ctx context.Context, t *grown) error {
	all, err := f.describe(ctx, t)
	if err != nil {
		return err
	}
	var made []string // conditions: the row is of the calls
	for _, d := range all {
		c := column{d.name, "t." + d.name}
		switch {
		case d.body:
			c.value = "IF(t." + d.name + " IS NULL, NULL, '')" // nobody reads it, and it is most of the bytes
		case d.time:
			c.value = fmt.Sprintf("TIMESTAMPADD(SECOND, IF(t.%s > NOW(3), s.seq, -s.seq * %d), t.%[1]s)", d.name, f.span/time.Second)
		case d.text:
			at, err := f.position(ctx, t, d.name)
			if err != nil {
				return err
			}
			if at > 0 {
				is := f.own("t."+d.name, at)
				made = append(made, is)
				c.value = fmt.Sprintf("IF(%s, INSERT(t.%s, %d, 8, LOWER(LPAD(HEX(CONV(SUBSTR(t.%[2]s, %[3]d, 8), 16, 10) - s.seq * %d), 8, '0'))), t.%[2]s)",
					is, d.name, at, f.span/slot)
			}
		}
		t.columns = append(t.columns, c)
	}
	if len(made) == 0 {
		return errors.New("no column has the ids that were made: how its rows are copied is not known")
	}
	for _, statement := range []string{"CREATE DATABASE IF NOT EXISTS bench_growth",
		fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT * FROM %s t WHERE %s", f.kept(t), t, strings.Join(made, " OR "))} {
		if _, err := f.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return f.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+f.kept(t)).Scan(&t.rows)
}

// own is the condition that a text has an id of the calls at a position, a number or a column.
func (f *family) own(text string, at any) string {
	return fmt.Sprintf("(CAST(SUBSTR(%s, %v, 36) AS BINARY) BETWEEN '%s' AND '%s')", text, at, f.from, f.to)
}

// described is a column as the database describes it.
type described struct {
	name             string
	text, body, time bool
}

// describe returns t's columns, without those that the database fills in.
func (f *family) describe(ctx context.Context, t *grown) (all []described, err error) {
	rows, err := f.db.QueryContext(ctx, `SELECT column_name, data_type IN ('char', 'varchar', 'binary', 'varbinary'),
			data_type LIKE '%blob' OR data_type LIKE '%text', data_type IN ('datetime', 'timestamp')
		FROM information_schema.columns WHERE table_schema = ? AND table_name = ? AND extra NOT LIKE '%auto_increment%' AND extra NOT LIKE '%GENERATED%'
		ORDER BY ordinal_position`, t.schema, t.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var d described
		if err := rows.Scan(&d.name, &d.text, &d.body, &d.time); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// position returns where the ids of the calls are in a column, 0 when there are none.
func (f *family) position(ctx context.Context, t *grown, column string) (int, error) {
	var least, most sql.NullInt64
	err := f.db.QueryRowContext(ctx, fmt.Sprintf(`SELECT MIN(at), MAX(at) FROM (SELECT %s AS text, REGEXP_INSTR(%[1]s, '%s') AS at FROM %s) q
		WHERE at > 0 AND %s`, column, "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-", t, f.own("text", "at"))).Scan(&least, &most)
	if err == nil && least != most {
		err = fmt.Errorf("the ids in column %s are not all at the same place", column)
	}
	return int(least.Int64), err
}

// has reports whether a table grew.
func (f *family) has(at [2]string) bool {
	return slices.ContainsFunc(f.tables, func(t *grown) bool { return t.schema == at[0] && t.name == at[1] })
}

// totals are what the sums in tables that do not grow become by one more copy.
var totals = []string{
	`UPDATE shop_inventory.stock s JOIN (SELECT sku, SUM(quantity) AS n FROM %[1]s__shop_inventory__stock_freeze WHERE status = 'DEDUCTED' GROUP BY sku) f
		ON f.sku = s.sku SET s.sold = s.sold + f.n * %[2]d, s.received = s.received + f.n * %[2]d`,
	`UPDATE shop_credit.credit_account a JOIN (SELECT member_id, SUM(points) AS n FROM %[1]s__shop_credit__credit_entry WHERE status = 'ADDED'
		GROUP BY member_id) e ON e.member_id = a.member_id SET a.credit = a.credit + e.n * %[2]d`,
}

// longest is how old the oldest copies may be: less than any row is kept.
const longest = 6 * 24 * time.Hour

// copyTo makes copies until there are n, two tables at a time. room returns an error when there is no room for more, and note hears how far it
// is.
func (f *family) copyTo(ctx context.Context, n int, room func() error, note func(format string, args ...any)) error {
	if old := f.span * time.Duration(n); old > longest {
		return fmt.Errorf("the calls took so long that the oldest copies would be %s old", old)
	}
	all := 0
	for _, t := range f.tables {
		all += t.rows * (n - f.copies)
	}
	var done atomic.Int64
	g, at := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, t := range f.tables {
		g.Go(func() error {
			if err := f.copyTable(at, t, n, func(rows int64) error {
				note("%s: %d of %d rows", t.schema, done.Add(rows), all)
				return room()
			}); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if !f.has([2]string{"shop_credit", "credit_entry"}) {
		f.copies = n
		return nil
	}
	for _, statement := range totals {
		if _, err := f.db.ExecContext(ctx, fmt.Sprintf(statement, "bench_growth."+f.name, n-f.copies)); err != nil {
			return err
		}
	}
	f.copies = n
	return nil
}

// atOnce is how many rows a statement copies.
const atOnce = 20_000

// copyTable makes the copies of one table, the oldest first, as they would have come.
func (f *family) copyTable(ctx context.Context, t *grown, n int, copied func(rows int64) error) error {
	var names, values []string
	for _, c := range t.columns {
		names, values = append(names, c.name), append(values, c.value)
	}
	step := max(1, atOnce/max(1, t.rows))
	for to := n; to > f.copies; to -= step {
		res, err := f.db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s
			FROM (SELECT seq FROM bench_growth.seq_%d_to_%d ORDER BY seq DESC LIMIT %d) s STRAIGHT_JOIN %s t`,
			t, strings.Join(names, ", "), strings.Join(values, ", "), max(f.copies+1, to-step+1), to, step, f.kept(t)))
		if err != nil {
			return err
		}
		rows, err := res.RowsAffected()
		if err == nil {
			err = copied(rows)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
