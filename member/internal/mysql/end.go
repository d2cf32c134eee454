package mysql

import (
	"context"
	"database/sql"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql/query"
)

// SetPassword replaces the hash of the member's password, ends the member's tokens, and forgets the addresses that are known: whoever had the old
// password may have been there. It returns member.ErrNotFound when there is no such member.
func (s *Store) SetPassword(ctx context.Context, memberID, hash string) error {
	return s.end(ctx, memberID, func(q *query.Queries) (int64, error) {
		return q.SetPassword(ctx, query.SetPasswordParams{ID: memberID, Hash: hash})
	})
}

// SetRole gives the member another role, and ends the tokens that name the old one. It reports whether that was a change, and returns
// member.ErrNotFound when there is no such member.
func (s *Store) SetRole(ctx context.Context, memberID string, r member.Role) (changed bool, err error) {
	if _, err := s.Member(ctx, memberID); err != nil {
		return false, err
	}
	n, err := s.q.SetRole(ctx, query.SetRoleParams{ID: memberID, Role: string(r)})
	return n > 0, err
}

// Close ends the account for good, and its tokens. Phone, email and name are deleted, so somebody may sign up with them; the id is kept for what
// names it. It returns member.ErrNotFound when there is no such member.
func (s *Store) Close(ctx context.Context, memberID string) error {
	return s.end(ctx, memberID, func(q *query.Queries) (int64, error) { return q.CloseMember(ctx, memberID) })
}

// end makes a change of the member's row that ends tokens, and forgets the known addresses with it.
func (s *Store) end(ctx context.Context, memberID string, change func(*query.Queries) (int64, error)) error {
	return database.InTx(ctx, s.db, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		n, err := change(q)
		if err == nil && n == 0 {
			err = member.ErrNotFound
		}
		if err != nil {
			return err
		}
		return q.ForgetAllAddresses(ctx, memberID)
	})
}

// Endings returns the epochs of the members whose tokens were ended within the last while.
func (s *Store) Endings(ctx context.Context, while time.Duration) (map[string]int64, error) {
	rows, err := s.q.ListEndings(ctx, -int64(while.Seconds()))
	epochs := make(map[string]int64, len(rows))
	for _, r := range rows {
		epochs[r.ID] = r.Epoch
	}
	return epochs, err
}

// MarkTold notes in tx that the member is told of a sign-up with their phone or email. It reports false when that was within the last day.
func (s *Store) MarkTold(ctx context.Context, tx *sql.Tx, memberID string) (due bool, err error) {
	n, err := s.q.WithTx(tx).MarkTold(ctx, memberID)
	return n > 0, err
}
