package batch

import "strings"

// Statement is one SQL statement.
type Statement struct {
	SQL  string
	Args []any
	// each reads one row of a statement that has any.
	each func(scan func(into ...any) error) error
}

// Find returns a statement with rows, a SELECT: each is called for every one of them, with its Scan.
func Find(sql string, args []any, each func(scan func(into ...any) error) error) Statement {
	return Statement{SQL: sql, Args: args, each: each}
}

// Change returns a statement without rows.
func Change(sql string, args ...any) Statement { return Statement{SQL: sql, Args: args} }

// Values are the rows of one INSERT.
type Values struct {
	rows []string
	args []any
}

// Add adds a row.
func (v *Values) Add(values ...any) {
	v.rows = append(v.rows, "("+strings.Repeat("?, ", len(values)-1)+"?)")
	v.args = append(v.args, values...)
}

// Into returns the INSERT of all rows into a table with its columns: "stock (sku, sellable)". There is none when there are no rows.
func (v *Values) Into(table string) []Statement {
	if len(v.rows) == 0 {
		return nil
	}
	return []Statement{{SQL: "INSERT INTO " + table + " VALUES " + strings.Join(v.rows, ", "), Args: v.args}}
}
