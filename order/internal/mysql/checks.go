package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"example.com/fourfold/order/internal/mysql/query"
)

// LastCheck is the result of the last regular conservation check that could be made, by whichever instance.
type LastCheck struct {
	// FinishedAt is zero before the first check.
	FinishedAt time.Time
	Took       time.Duration
	// Violations counts the rows that break each check.
	Violations map[string]int64
}

// ClaimCheck reports whether it is this instance's turn to check: no instance has begun to within every.
func (s *Store) ClaimCheck(ctx context.Context, every time.Duration) (bool, error) {
	n, err := s.q.ClaimCheck(ctx, every.Microseconds())
	return n == 1, err
}

// KeepCheck stores, for all instances, the result of a check that ends now.
func (s *Store) KeepCheck(ctx context.Context, took time.Duration, violations map[string]int64) error {
	text, err := json.Marshal(violations)
	if err != nil {
		return err
	}
	return s.q.KeepCheck(ctx, query.KeepCheckParams{TookMs: took.Milliseconds(), Violations: string(text)})
}

// LastCheck returns what KeepCheck stored last.
func (s *Store) LastCheck(ctx context.Context) (LastCheck, error) {
	row, err := s.q.LastCheck(ctx)
	if err != nil {
		return LastCheck{}, err
	}
	last := LastCheck{FinishedAt: row.FinishedAt.Time, Took: time.Duration(row.TookMs) * time.Millisecond}
	if err := json.Unmarshal([]byte(row.Violations), &last.Violations); err != nil {
		return LastCheck{}, fmt.Errorf("table conservation: %w", err)
	}
	return last, nil
}
