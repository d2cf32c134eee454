package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestChangesUseTheirKey: a statement that changes rows by a unique key finds them by it. Left to itself the optimizer may prefer the index of
// the status that the statement also asks for: it then locks that index before the row, where others lock the row first, and the database ends
// the deadlock by undoing one of them.
func TestChangesUseTheirKey(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../*/internal/mysql/*.sql")
	require.NoError(t, err)
	var asked int
	for _, file := range files {
		service := strings.Split(file, "/")[1]
		own := open(t, shared.OwnerDSN("shop_"+service))
		keys := uniqueKeys(t, own)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range change.FindAllStringSubmatch(string(text), -1) {
			name, statement, table := m[1], m[2], m[3]
			if !byKey(statement, keys[table]) {
				continue
			}
			asked++
			key, err := planOf(t.Context(), own, statement)
			require.NoError(t, err, "%s of %s", name, service)
			assert.Contains(t, keys[table], key, "%s of %s does not find its rows by a unique key: FORCE INDEX", name, service)
		}
	}
	require.Greater(t, asked, 30, "the statements were not found")
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
	// change is a statement of sqlc that changes rows: its name, its text, its table.
	change = regexp.MustCompile(`(?s)-- name: (\w+) [^\n]*\n(?:--[^\n]*\n)*((?:UPDATE|DELETE FROM) (\w+) .*?);`)
	named  = regexp.MustCompile(`sqlc\.(?:arg|slice)\('\w+'\)`)
	blank  = strings.NewReplacer("?", "'1'")
)

// planOf returns the key by which a statement of sqlc finds its rows.
func planOf(ctx context.Context, db *sql.DB, statement string) (string, error) {
	rows, err := db.QueryContext(ctx, "EXPLAIN "+blank.Replace(named.ReplaceAllString(statement, "'1'")))
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
	return plan[slices.Index(columns, "key")].String, errors.Join(err, rows.Err())
}
