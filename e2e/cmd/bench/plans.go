package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// plan is how the database would find the rows of one table of a statement.
type plan struct {
	said
	table, access, key, extra string
	rows                      int
}

func (p plan) String() string {
	return fmt.Sprintf("%s %s: %s, key %s, %d rows: %.300s", p.database, p.table, p.access, p.key, p.rows, digest(p.text))
}

const (
	// few is how many rows may be read one after another: a table that has no more is small.
	few = 100
	// many is how many rows a key may lead to. A payment is about a handful, and a batch about a handful for each of its payments.
	many = 1000
)

// explain returns the plans of a statement. An INSERT of values has none: nothing is looked for.
func explain(ctx context.Context, conn *sql.Conn, s said) (all []plan, err error) {
	if !looks.MatchString(s.text) {
		return nil, nil
	}
	if _, err := conn.ExecContext(ctx, "USE "+s.database); err != nil {
		return nil, err
	}
	rows, err := conn.QueryContext(ctx, "EXPLAIN "+s.text)
	if err != nil {
		return nil, fmt.Errorf("explain %.300s: %w", digest(s.text), err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	of := func(column string) string { return values[slices.Index(columns, column)].String }
	names := tablesOf(s.text)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		p := plan{said: s, table: of("table"), access: of("type"), key: of("key"), extra: of("Extra")}
		if name := names[p.table]; name != "" {
			p.table = name
		}
		p.rows, _ = strconv.Atoi(of("rows")) // none for a table that is only written to
		all = append(all, p)
	}
	return all, rows.Err()
}

// looks matches the statements that look for rows.
var looks = regexp.MustCompile(`(?is)^\(*\s*(?:SELECT|UPDATE|DELETE|WITH|(?:INSERT|REPLACE)\b.*\bSELECT)\b`)

var (
	mentioned = regexp.MustCompile("(?i)\\b(?:FROM|JOIN|UPDATE|INTO)\\s+`?(\\w+)`?(?:\\s+(?:AS\\s+)?`?(\\w+)`?)?")
	keyword   = regexp.MustCompile(`(?i)^(?:AS|FORCE|USE|IGNORE|WHERE|SET|ON|JOIN|LEFT|INNER|CROSS|ORDER|GROUP|LIMIT|FOR|LOCK|UNION|VALUES|SELECT|HAVING)$`)
)

// tablesOf returns the tables of a statement by the names that they have in it.
func tablesOf(statement string) map[string]string {
	names := map[string]string{}
	for _, m := range mentioned.FindAllStringSubmatch(text.ReplaceAllString(statement, "?"), -1) {
		names[m[1]] = m[1]
		if m[2] != "" && !keyword.MatchString(m[2]) {
			names[m[2]] = m[1]
		}
	}
	return names
}

// wrong returns what is wrong with a plan, "" when nothing is: a table of more than a few rows is read through, a key leads to many rows, or a
// row that is changed and named by a unique key is found by another one. keys are the unique keys of the tables that grow, by database and
// table, with the first column of each.
func (p plan) wrong(keys map[[2]string]map[string]string) string {
	switch {
	case (p.access == "ALL" || p.access == "index") && p.rows > few:
		return "reads the table through"
	case p.rows > many:
		return "is led to many rows"
	}
	unique := keys[[2]string{p.database, p.table}]
	if m := target.FindStringSubmatch(p.text); m == nil || m[1] != p.table || p.access == "" || unique[p.key] != "" {
		return ""
	}
	_, where, _ := strings.Cut(text.ReplaceAllString(p.text, "?"), "WHERE")
	for _, column := range unique {
		if regexp.MustCompile(`\b` + column + `\b\s*(?:=|IN\b)`).MatchString(where) {
			return "changes rows that it does not find by their key"
		}
	}
	return ""
}

// target matches a statement that changes rows of one table.
var target = regexp.MustCompile(`(?i)^(?:UPDATE|DELETE\s+FROM)\s+(\w+)`)

// plans explains each statement, and returns the plans and an error that lists the wrong ones.
func (s *shop) plans(ctx context.Context, all []said, grown []*grown) (plans []plan, err error) {
	keys := map[[2]string]map[string]string{}
	for _, t := range grown {
		if keys[[2]string{t.schema, t.name}], err = uniqueKeys(ctx, s.root, t); err != nil {
			return nil, err
		}
	}
	conn, err := s.root.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	var wrong []string
	for _, one := range all {
		some, err := explain(ctx, conn, one)
		if err != nil {
			return nil, err
		}
		for _, p := range some {
			plans = append(plans, p)
			if why := p.wrong(keys); why != "" {
				wrong = append(wrong, why+": "+p.String())
			}
		}
	}
	if len(wrong) > 0 {
		return plans, fmt.Errorf("%d plans of %d statements are wrong:\n%s", len(wrong), len(all), strings.Join(wrong, "\n"))
	}
	return plans, nil
}

// uniqueKeys returns t's unique keys, with the first column of each.
func uniqueKeys(ctx context.Context, db *sql.DB, t *grown) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT index_name, column_name FROM information_schema.statistics
		WHERE table_schema = ? AND table_name = ? AND non_unique = 0 AND seq_in_index = 1`, t.schema, t.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	keys := map[string]string{}
	for rows.Next() {
		var key, column string
		if err := rows.Scan(&key, &column); err != nil {
			return nil, err
		}
		keys[key] = column
	}
	return keys, rows.Err()
}

// reads returns how many rows the server read of each table while f ran: what the plans were in fact.
func (s *shop) reads(ctx context.Context, f func() error) (map[[2]string]int, error) {
	for _, statement := range []string{"SET GLOBAL userstat = ON", "FLUSH TABLE_STATISTICS"} {
		if _, err := s.root.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	if err := f(); err != nil {
		return nil, err
	}
	rows, err := s.root.QueryContext(ctx, "SELECT table_schema, table_name, rows_read FROM information_schema.table_statistics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	read := map[[2]string]int{}
	for rows.Next() {
		var at [2]string
		var n int
		if err := rows.Scan(&at[0], &at[1], &n); err != nil {
			return nil, err
		}
		read[at] = n
	}
	_, off := s.root.ExecContext(ctx, "SET GLOBAL userstat = OFF")
	return read, errors.Join(rows.Err(), off)
}
