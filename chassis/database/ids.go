package database

import (
	"context"
	"database/sql"
	"strings"
)

// IDs returns the numbers that query selects, in its order.
func IDs(ctx context.Context, db *sql.DB, query string, args ...any) ([]int64, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, rows.Err()
}

// In returns ?,?,… for IN (…), and the values as its arguments. Without values it returns NULL, which no row matches.
func In[T any](values []T) (string, []any) {
	if len(values) == 0 {
		return "NULL", nil
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return strings.Repeat(",?", len(values))[1:], args
}
