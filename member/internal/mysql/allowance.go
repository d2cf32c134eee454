package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/member/internal/mysql/query"
)

// Rate is PerHour on average and Burst at once. PerHour 0 means no limit.
type Rate struct {
	PerHour int `yaml:"per_hour"`
	Burst   int `yaml:"burst"`
}

// tries is how often one is tried to be taken from a row that others change at the same time.
const tries = 10

// each returns how long the allowance takes to grow by one.
func (r Rate) each() time.Duration { return time.Hour / time.Duration(r.PerHour) }

// Take takes one from the allowance of subject, a text of 43 characters. When there is none left it takes nothing and returns how long it is
// until there is, by the database's clock. Of any number of callers at the same time exactly as many take one as there are.
func (s *Store) Take(ctx context.Context, subject string, r Rate) (wait time.Duration, err error) {
	if r.PerHour <= 0 {
		return 0, nil
	}
	most := time.Duration(max(r.Burst, 1)-1) * r.each()
	for range tries {
		taken, err := s.q.TakeAllowance(ctx, query.TakeAllowanceParams{
			Subject: subject, EachUs: r.each().Microseconds(), MostUs: most.Microseconds(),
		})
		if err != nil || taken == 1 {
			return 0, err
		}
		whole, err := s.q.WholeIn(ctx, subject)
		if wait := time.Duration(whole)*time.Microsecond - most; err == nil && wait > 0 {
			// Longer than each means that somebody took one after this statement had read the clock and before it read the row.
			return min(wait, r.each()), nil
		}
		if err == nil {
			continue // the row came, or one was given back, after the UPDATE
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		err = s.q.BeginAllowance(ctx, query.BeginAllowanceParams{Subject: subject, EachUs: r.each().Microseconds()})
		if !database.Duplicate(err) {
			return 0, err
		} // somebody was quicker: take from their row
	}
	return r.each(), nil // the row comes and goes all the time
}

// GiveBack undoes one Take that was granted.
func (s *Store) GiveBack(ctx context.Context, subject string, r Rate) error {
	if r.PerHour <= 0 {
		return nil
	}
	return s.q.GiveBackAllowance(ctx, query.GiveBackAllowanceParams{Subject: subject, ByUs: -r.each().Microseconds()})
}

// Allowances returns the rule that deletes the rows that say nothing any more.
func Allowances() database.Retention {
	return database.Retention{Table: "allowance", Column: "whole_at", Keep: time.Minute}
}

// keptAddresses is how many addresses of a member are known.
const keptAddresses = 5

// KnowsAddress reports whether the member signed in from this address before, and it is among the last.
func (s *Store) KnowsAddress(ctx context.Context, memberID, address string) (bool, error) {
	return s.q.IsMemberAddress(ctx, query.IsMemberAddressParams{MemberID: memberID, Address: address})
}

// SawAddress notes that the member signed in from this address, and forgets all but the last few.
func (s *Store) SawAddress(ctx context.Context, memberID, address string) error {
	if err := s.q.PutMemberAddress(ctx, query.PutMemberAddressParams{MemberID: memberID, Address: address}); err != nil {
		return err
	}
	oldest, err := s.q.OldestKeptAddress(ctx, query.OldestKeptAddressParams{MemberID: memberID, Offset: keptAddresses - 1})
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.q.ForgetMemberAddresses(ctx, query.ForgetMemberAddressesParams{MemberID: memberID, SeenAt: oldest})
}
