package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"example.com/fourfold/order/internal/order"
)

// OpenAttempt is an attempt that has not ended.
type OpenAttempt struct {
	GID, MemberID string
	Kind          order.Kind
	Age           time.Duration
	// Held reports whether its transaction holds the order.
	Held bool
}

// Open returns the open attempt of an order, and whether there is one.
func (s *Store) Open(ctx context.Context, id string) (OpenAttempt, bool, error) {
	row, err := s.q.GetOpenAttempt(ctx, sql.NullString{String: id, Valid: true})
	if errors.Is(err, sql.ErrNoRows) {
		return OpenAttempt{}, false, nil
	}
	if err != nil {
		return OpenAttempt{}, false, err
	}
	kind := order.Kind(row.Kind)
	return OpenAttempt{
		GID: row.Gid, MemberID: row.MemberID, Kind: kind, Age: time.Duration(row.AgeSeconds) * time.Second,
		Held: row.Holds && order.Status(row.Status) == kind.Try().To,
	}, true, nil
}
