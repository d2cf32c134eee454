// Package mysql holds all of member's SQL: queries.sql, and what sqlc generates from it.
package mysql

import (
	"context"
	"database/sql"
	"errors"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql/query"
)

// Store reads and writes shop_member.
type Store struct {
	db *sql.DB
	q  *query.Queries
}

// NewStore returns a Store of db.
func NewStore(db *sql.DB) *Store { return &Store{db, query.New(db)} }

// Create adds m in tx with the given hash of the password; the database sets the time. It returns member.ErrExists when the phone or the email
// is taken.
func (s *Store) Create(ctx context.Context, tx *sql.Tx, m member.Member, passwordHash string) error {
	err := s.q.WithTx(tx).InsertMember(ctx, query.InsertMemberParams{
		ID: m.ID, Phone: some(m.Phone), Email: some(m.Email), Name: m.Name, Role: string(m.Role), PasswordHash: passwordHash,
	})
	if database.Duplicate(err) {
		return member.ErrExists
	}
	return err
}

// Member returns the member with this id, or member.ErrNotFound, also for one who is closed.
func (s *Store) Member(ctx context.Context, id string) (member.Member, error) {
	m, _, err := found(s.q.GetMember(ctx, id))
	return m, err
}

// ByLogin returns the member with this phone or email and the hash of the password, or member.ErrNotFound.
func (s *Store) ByLogin(ctx context.Context, l member.Login) (m member.Member, passwordHash string, err error) {
	switch {
	case l.Phone != "":
		return found(s.q.GetMemberByPhone(ctx, some(l.Phone)))
	case l.Email != "":
		return found(s.q.GetMemberByEmail(ctx, some(l.Email)))
	}
	return member.Member{}, "", member.ErrNotFound
}

// Rehash replaces a hash of the member's password by another of the same password, if it is still that one.
func (s *Store) Rehash(ctx context.Context, memberID, oldHash, newHash string) error {
	return s.q.Rehash(ctx, query.RehashParams{ID: memberID, OldHash: oldHash, NewHash: newHash})
}

func some(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }

func found(r query.Member, err error) (member.Member, string, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return member.Member{}, "", member.ErrNotFound
	}
	if err != nil {
		return member.Member{}, "", err
	}
	return member.Member{
		ID: r.ID, Phone: r.Phone.String, Email: r.Email.String, Name: r.Name, Role: member.Role(r.Role), Epoch: r.Epoch, CreatedAt: r.CreatedAt,
	}, r.PasswordHash, nil
}
