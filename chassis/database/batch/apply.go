package batch

import (
	"context"
	"database/sql"
)

// Apply makes one call in a transaction that is open, statement by statement.
func Apply[R any](ctx context.Context, tx *sql.Tx, w Work[R], request R) error {
	items := []*Item[R]{{Context: ctx, Request: request}}
	for _, s := range w.Read(items) {
		if err := s.find(ctx, tx); err != nil {
			return err
		}
	}
	writes, err := w.Write(items)
	if err != nil {
		return err
	}
	for _, s := range writes {
		if _, err := tx.ExecContext(ctx, s.SQL, s.Args...); err != nil {
			return err
		}
	}
	return items[0].err
}

func (s Statement) find(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, s.SQL, s.Args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := s.each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
