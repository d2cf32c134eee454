// Package mysql holds all of notify's SQL: queries.sql, what sqlc generates from it, and the steps of several statements.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/notify/internal/mysql/query"
	"example.com/fourfold/notify/internal/notification"
)

// Store reads and writes shop_notify.
type Store struct {
	db     *sql.DB
	q      *query.Queries
	closes *batch.Runner[closing]
}

// NewStore returns a Store of db.
func NewStore(db *sql.DB) *Store { return &Store{db, query.New(db), batch.New(db, closeAll)} }

// Age returns how long ago at was, by the database's clock.
func (s *Store) Age(ctx context.Context, tx *sql.Tx, at time.Time) (time.Duration, error) {
	us, err := s.q.WithTx(tx).AgeOf(ctx, at.UTC())
	return time.Duration(us) * time.Microsecond, err
}

// PutContact stores where a member is reached; the last call counts.
func (s *Store) PutContact(ctx context.Context, tx *sql.Tx, c notification.Contact) error {
	return s.q.WithTx(tx).PutContact(ctx, query.PutContactParams{MemberID: c.MemberID, Phone: c.Phone, Email: c.Email, Name: c.Name})
}

// Contact returns where a member is reached, and reports whether that is known.
func (s *Store) Contact(ctx context.Context, tx *sql.Tx, memberID string) (c notification.Contact, known bool, err error) {
	row, err := s.q.WithTx(tx).GetContact(ctx, memberID)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	return notification.Contact(row), err == nil, err
}

// Add writes n, which is PENDING, STALE or DROPPED, with its id, event and text.
func (s *Store) Add(ctx context.Context, tx *sql.Tx, n notification.Notification) error {
	return s.q.WithTx(tx).InsertNotification(ctx, query.InsertNotificationParams{
		ID: n.ID, Source: n.Source, EventID: n.EventID, EventType: n.EventType, Channel: string(n.Channel), Recipient: n.To,
		Subject: n.Subject, Body: n.Text, State: string(n.State),
	})
}

// Filter says which notifications to list; an empty field allows all.
type Filter struct {
	To, EventID string
	State       notification.State
	// Before is the id of the last one of the page before.
	Before string
}

// newest sorts after every id.
const newest = "~"

// Notifications returns up to limit notifications, newest first.
func (s *Store) Notifications(ctx context.Context, f Filter, limit int32) ([]notification.Notification, error) {
	if f.Before == "" {
		f.Before = newest
	}
	rows, err := s.q.ListNotifications(ctx, query.ListNotificationsParams{
		Before: f.Before, Recipient: f.To, EventID: f.EventID, State: string(f.State), Limit: limit,
	})
	all := make([]notification.Notification, len(rows))
	for i, r := range rows {
		all[i] = notification.Notification{
			ID: r.ID, Channel: notification.Channel(r.Channel), To: r.Recipient, Subject: r.Subject, Text: r.Body,
			State: notification.State(r.State), Tries: r.Tries, LastError: r.LastError,
			Source: r.Source, EventID: r.EventID, EventType: r.EventType, CreatedAt: r.CreatedAt, ClosedAt: r.ClosedAt.Time,
		}
	}
	return all, err
}

// Inbox returns up to limit messages that the demo's provider received, newest first: those to the recipient to, or all when to is empty, with a
// number below before, or any when before is 0.
func (s *Store) Inbox(ctx context.Context, to string, before int64, limit int32) ([]notification.Received, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	rows, err := s.q.ListInbox(ctx, query.ListInboxParams{Before: before, Recipient: to, Limit: limit})
	all := make([]notification.Received, len(rows))
	for i, r := range rows {
		all[i] = notification.Received{
			No: r.No, ID: r.ID, Channel: notification.Channel(r.Channel), To: r.Recipient, Subject: r.Subject, Text: r.Body, At: r.ReceivedAt,
		}
	}
	return all, err
}
