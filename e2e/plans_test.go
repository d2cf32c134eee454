package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestChangesUseTheirKey: a statement that changes or locks rows by a unique key finds them by it. Left to itself the optimizer may prefer the
// index of the status that the statement also asks for: it then locks that index before the row, where others lock the row first, and the
// database ends the deadlock by undoing one of them.
func TestChangesUseTheirKey(t *testing.T) {
	t.Parallel()
	statements := map[string][]string{} // by the file that has them
	for _, files := range []string{"../*/internal/mysql/*.sql", "../*/internal/mysql/*.go", "../chassis/tcc/*.go"} {
		names, err := filepath.Glob(files)
		require.NoError(t, err)
		require.NotEmpty(t, names, files)
		for _, name := range names {
			switch {
			case strings.HasSuffix(name, ".sql"):
				text, err := os.ReadFile(name)
				require.NoError(t, err)
				for _, m := range ofSQLC.FindAllStringSubmatch(string(text), -1) {
					statements[name] = append(statements[name], m[1])
				}
			case !strings.HasSuffix(name, "_test.go"):
				statements[name] = literals(t, name)
			}
		}
	}
	asked := map[string]int{} // by the kind of file
	for file, all := range statements {
		service := strings.Split(file, "/")[1]
		if service == "chassis" {
			service = "order" // one that has its tables
		}
		own := open(t, shared.OwnerDSN("shop_"+service))
		keys := uniqueKeys(t, own)
		for _, statement := range all {
			m := change.FindStringSubmatch(statement)
			if m == nil || !byKey(statement, keys[m[1]+m[2]]) {
				continue
			}
			asked[filepath.Ext(file)]++
			key, err := planOf(t.Context(), own, statement)
			require.NoError(t, err, "%s: %s", file, statement)
			if key == unique {
				continue
			}
			assert.Contains(t, keys[m[1]+m[2]], key, "%s does not find its rows by a unique key: FORCE INDEX\n%s", file, statement)
		}
	}
	require.Greater(t, asked[".sql"], 20, "the statements were not found")
	require.Greater(t, asked[".go"], 15, "the statements were not found")
}

// literals returns the texts of a Go file that are more than a word: literals and, with ? for what is no literal, sums of them.
func literals(t testing.TB, file string) (all []string) {
	t.Helper()
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	var text func(ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			if value, err := strconv.Unquote(e.Value); err == nil {
				return value
			}
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		}
		return "?"
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		s := text(e)
		if strings.Contains(s, " ") {
			all = append(all, s)
		}
		return s == "?" // a sum is one text
	})
	return all
}

// uniqueKeys returns the unique keys of each table, with the first column of each: the shop's begin with what a row is of.
func uniqueKeys(t testing.TB, db *sql.DB) map[string]map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT table_name, index_name, column_name FROM information_schema.statistics
		WHERE table_schema = DATABASE() AND non_unique = 0 AND seq_in_index = 1`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	keys := map[string]map[string]string{}
	for rows.Next() {
		var table, key, column string
		require.NoError(t, rows.Scan(&table, &key, &column))
		if keys[table] == nil {
			keys[table] = map[string]string{}
		}
		keys[table][key] = column
	}
	require.NoError(t, rows.Err())
	return keys
}

// byKey reports whether a statement names a value for the column that one of keys begins with.
func byKey(statement string, keys map[string]string) bool {
	_, where, _ := strings.Cut(statement, "WHERE")
	for _, column := range keys {
		if regexp.MustCompile(`\b` + column + ` (=|IN)`).MatchString(where) {
			return true
		}
	}
	return false
}

var (
	// ofSQLC is a statement of sqlc.
	ofSQLC = regexp.MustCompile(`(?s)-- name: \w+ [^\n]*\n(?:--[^\n]*\n)*(.*?);`)
	// change is a statement that changes or locks rows, of one table.
	change = regexp.MustCompile(`(?s)^(?:(?:UPDATE|DELETE FROM) (\w+) |SELECT .* FROM (\w+) .* FOR UPDATE)`)
	named  = regexp.MustCompile(`sqlc\.(?:arg|slice)\('\w+'\)`)
	blank  = strings.NewReplacer("?", "'1'")
)

// unique stands for the unique key of a table, of which a SELECT names all columns: there is no other plan, and EXPLAIN does not name it when
// there is no such row.
const unique = "unique"

// planOf returns the key by which a statement finds its rows.
func planOf(ctx context.Context, db *sql.DB, statement string) (string, error) {
	rows, err := db.QueryContext(ctx, "EXPLAIN "+blank.Replace(named.ReplaceAllString(strings.ReplaceAll(statement, "IN (?)", "IN ('1', '2')"), "'1'")))
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	plan := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range plan {
		into[i] = &plan[i]
	}
	if rows.Next() {
		err = rows.Scan(into...)
	}
	if plan[slices.Index(columns, "Extra")].String == "Impossible WHERE noticed after reading const tables" {
		return unique, errors.Join(err, rows.Err())
	}
	return plan[slices.Index(columns, "key")].String, errors.Join(err, rows.Err())
}
