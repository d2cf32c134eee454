package mysql

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/notify/internal/mysql/query"
	"example.com/fourfold/notify/internal/notification"
)

// Leased is a notification that one sender has to itself for a while.
type Leased struct {
	notification.Notification
	// Age is by the database's clock.
	Age time.Duration
	// Unanswered is how often a provider was given it without saying whether it has it.
	Unanswered int32

	owner string
}

// Lease takes up to limit PENDING notifications of channel that are due, oldest first, and counts a try of each. No other sender gets them until
// the lease is over, by the database's clock.
func (s *Store) Lease(ctx context.Context, channel notification.Channel, lease time.Duration, limit int32) ([]Leased, error) {
	due, err := s.q.DueNotifications(ctx, query.DueNotificationsParams{Channel: string(channel), Limit: limit})
	if err != nil || len(due) == 0 {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	owner := id.String() // a new one each time, so that a sender that comes back late is a different owner
	n, err := s.q.LeaseNotifications(ctx, query.LeaseNotificationsParams{Owner: owner, LeaseUs: lease.Microseconds(), Ids: due})
	if err != nil || n == 0 {
		return nil, err
	}
	rows, err := s.q.ListLeased(ctx, query.ListLeasedParams{Ids: due, Owner: owner})
	leased := make([]Leased, len(rows))
	for i, r := range rows {
		leased[i] = Leased{
			Notification: notification.Notification{
				ID: r.ID, Channel: notification.Channel(r.Channel), To: r.Recipient, Subject: r.Subject, Text: r.Body,
				State: notification.Pending, Tries: r.Tries, EventType: r.EventType, CreatedAt: r.CreatedAt,
			},
			Age: time.Duration(r.AgeUs) * time.Microsecond, Unanswered: r.Unanswered, owner: owner,
		}
	}
	return leased, err
}

// Renew makes the lease on n as long again as it was at first. It reports false when n is closed or the lease is another sender's by now.
func (s *Store) Renew(ctx context.Context, n Leased, lease time.Duration) (held bool, err error) {
	rows, err := s.q.RenewLease(ctx, query.RenewLeaseParams{ID: n.ID, Owner: n.owner, LeaseUs: lease.Microseconds()})
	return rows == 1, err
}

// Close takes a PENDING notification to its last state. It changes nothing when the notification is closed already. It does not ask whose lease
// it is: what the provider has, it has.
func (s *Store) Close(ctx context.Context, id string, to notification.State, why string) error {
	return s.closes.Do(ctx, closing{id, to, why})
}

// closing is a notification that has come to its last state.
type closing struct {
	id  string
	to  notification.State
	why string
}

// closeAll is the work of Close.
func closeAll() batch.Work[closing] {
	return batch.Work[closing]{Write: func(items []*batch.Item[closing]) (writes []batch.Statement, err error) {
		type end struct {
			to  notification.State
			why string
		}
		ids := map[end][]string{}
		for _, i := range items {
			e := end{i.Request.to, i.Request.why}
			ids[e] = append(ids[e], i.Request.id)
		}
		for e, of := range ids {
			slices.Sort(of)
			in, args := database.In(of)
			writes = append(writes, batch.Change("UPDATE notification FORCE INDEX (PRIMARY) SET state = ?, last_error = ?, closed_at = NOW(3)"+
				" WHERE id IN ("+in+") AND state = 'PENDING'", append([]any{string(e.to), e.why}, args...)...))
		}
		return writes, nil
	}}
}

// Postpone ends n's lease and keeps n from being taken for pause. With unanswered it counts that a provider may have it. It changes nothing when
// the lease is another sender's by now.
func (s *Store) Postpone(ctx context.Context, n Leased, pause time.Duration, why string, unanswered bool) error {
	count := int64(0)
	if unanswered {
		count = 1
	}
	_, err := s.q.PostponeNotification(ctx, query.PostponeNotificationParams{
		ID: n.ID, Owner: n.owner, PauseUs: pause.Microseconds(), LastError: why, Unanswered: count,
	})
	return err
}

// Failing counts what a channel FAILED to send within the last span, and what has been PENDING for longer than patience.
func (s *Store) Failing(ctx context.Context, channel notification.Channel, span, patience time.Duration) (failed, late int64, err error) {
	row, err := s.q.CountFailing(ctx, query.CountFailingParams{
		Channel: string(channel), SpanUs: -span.Microseconds(), PatienceUs: -patience.Microseconds(),
	})
	return row.Failed, row.Late, err
}

// Mailbox is the demo's provider, for both channels. It writes each notification to the table inbox once.
type Mailbox struct {
	received *batch.Runner[notification.Notification]
}

// DemoMailbox returns an Inbox in the store's database.
func (s *Store) DemoMailbox() Mailbox { return Mailbox{batch.New(s.db, receive)} }

// Send writes n to the inbox. The second time nothing changes.
func (i Mailbox) Send(ctx context.Context, n notification.Notification) error {
	return i.received.Do(ctx, n)
}

// receive is the work of Send.
func receive() batch.Work[notification.Notification] {
	return batch.Work[notification.Notification]{Write: func(items []*batch.Item[notification.Notification]) ([]batch.Statement, error) {
		var rows batch.Values
		for _, i := range items {
			n := i.Request
			rows.Add(n.ID, string(n.Channel), n.To, n.Subject, n.Text)
		}
		writes := rows.Into("inbox (id, channel, recipient, subject, body)")
		writes[0].SQL += " ON DUPLICATE KEY UPDATE id = id" // the first time counts
		return writes, nil
	}}
}
