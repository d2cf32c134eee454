// Package registration gives new members their first points.
package registration

import (
	"context"
	"database/sql"
	"fmt"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
)

// Registration handles member.registered.
type Registration struct {
	store  *mysql.Store
	points int64
}

// New returns a Registration that gives points to each new member. With 0 it gives none and makes no entry. It fails for a number that no entry
// can have.
func New(store *mysql.Store, points int64) (*Registration, error) {
	if points < 0 || points > account.MaxPoints {
		return nil, fmt.Errorf("registration_points is %d: from 0, which gives none, to %d", points, int64(account.MaxPoints))
	}
	return &Registration{store, points}, nil
}

// Subscription returns the subscription to the events that Handle handles.
func Subscription() mq.Subscription {
	return mq.Subscription{Group: "credit-registration", Topic: eventv1.TopicMembers, Types: []string{eventv1.TypeMemberRegistered}}
}

// Handle adds the points in tx, even to a frozen account, under a source that counts once per member: another event about the same member adds
// nothing.
func (r *Registration) Handle(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	var m eventv1.MemberRegistered
	if err := e.Read(&m); err != nil {
		return err
	}
	entry, err := account.NewEntry("registration:"+m.GetMemberId(), m.GetMemberId(), r.points)
	if err != nil || r.points == 0 {
		return err
	}
	if err := r.store.Add(ctx, tx, entry); err != nil && !database.Duplicate(err) {
		return err
	}
	return nil
}
