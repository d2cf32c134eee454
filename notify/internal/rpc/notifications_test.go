package rpc_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/rpc"
	"example.com/fourfold/notify/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestLists reads both lists by pages of every size: newest first, each once.
func TestLists(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	store := mysql.NewStore(db)
	s := rpc.NewNotifications(store)
	var ids, toBob []string
	for i := range 25 {
		n := notification.Notification{ID: uuid.Must(uuid.NewV7()).String(), Channel: notification.Email, To: "ann@example.com", Subject: "s",
			Text: "t", State: notification.Pending, Source: "/member", EventID: fmt.Sprintf("e-%d", i), EventType: "member.registered"}
		if i%5 == 4 {
			n.To, n.Channel, n.State = "bob@example.com", notification.SMS, notification.Stale
			toBob = append(toBob, n.ID)
		}
		require.NoError(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error { return store.Add(t.Context(), tx, n) }))
		require.NoError(t, store.DemoMailbox().Send(t.Context(), n))
		ids = append(ids, n.ID)
	}
	slices.Reverse(ids)
	slices.Reverse(toBob)
	all := func(to string, size int32) (notifications, inbox []string) {
		t.Helper()
		for token := ""; ; {
			reply, err := s.ListNotifications(t.Context(), &notifyv1.ListNotificationsRequest{To: to, PageSize: size, PageToken: token})
			require.NoError(t, err)
			for _, n := range reply.GetNotifications() {
				notifications = append(notifications, n.GetId())
			}
			require.LessOrEqual(t, len(notifications), len(ids))
			if token = reply.GetNextPageToken(); token == "" {
				break
			}
		}
		for token := ""; ; {
			reply, err := s.ListInbox(t.Context(), &notifyv1.ListInboxRequest{To: to, PageSize: size, PageToken: token})
			require.NoError(t, err)
			for _, m := range reply.GetMessages() {
				inbox = append(inbox, m.GetId())
			}
			require.LessOrEqual(t, len(inbox), len(ids))
			if token = reply.GetNextPageToken(); token == "" {
				return notifications, inbox
			}
		}
	}
	for _, size := range []int32{0, 1, 2, 5, 24, 25, 26, 100} {
		notifications, inbox := all("", size)
		require.Equal(t, ids, notifications, "pages of %d", size)
		require.Equal(t, ids, inbox, "pages of %d", size)
		notifications, inbox = all("bob@example.com", size)
		require.Equal(t, toBob, notifications)
		require.Equal(t, toBob, inbox)
	}

	one, err := s.ListNotifications(t.Context(), &notifyv1.ListNotificationsRequest{EventId: "e-4"})
	require.NoError(t, err)
	require.Len(t, one.GetNotifications(), 1)
	n := one.GetNotifications()[0]
	assert.Equal(t, "SMS bob@example.com s t STALE e-4 member.registered", fmt.Sprint(n.GetChannel(), " ", n.GetTo(), " ", n.GetSubject(), " ",
		n.GetText(), " ", n.GetState(), " ", n.GetEventId(), " ", n.GetEventType()))
	assert.WithinDuration(t, time.Now(), n.GetCreatedAt().AsTime(), time.Minute)
	assert.WithinDuration(t, time.Now(), n.GetClosedAt().AsTime(), time.Minute)
	for state, want := range map[notifyv1.Notification_State]int{notifyv1.Notification_PENDING: 20, notifyv1.Notification_STALE: 5,
		notifyv1.Notification_SENT: 0} {
		reply, err := s.ListNotifications(t.Context(), &notifyv1.ListNotificationsRequest{State: state, PageSize: 100})
		require.NoError(t, err)
		assert.Len(t, reply.GetNotifications(), want, state)
	}
	pending, err := s.ListNotifications(t.Context(), &notifyv1.ListNotificationsRequest{EventId: "e-0"})
	require.NoError(t, err)
	assert.Nil(t, pending.GetNotifications()[0].GetClosedAt())
	inbox, err := s.ListInbox(t.Context(), &notifyv1.ListInboxRequest{To: "bob@example.com", PageSize: 1})
	require.NoError(t, err)
	m := inbox.GetMessages()[0]
	assert.Equal(t, "SMS bob@example.com s t", fmt.Sprint(m.GetChannel(), " ", m.GetTo(), " ", m.GetSubject(), " ", m.GetText()))
	assert.WithinDuration(t, time.Now(), m.GetReceivedAt().AsTime(), time.Minute)
}

func TestBadPageTokenIsNamed(t *testing.T) {
	t.Parallel()
	s := rpc.NewNotifications(mysql.NewStore(mysqltest.Open(t, migrations.FS)))
	for _, token := range []string{"x", "0", "-1", "01", "+1", "9223372036854775808", "019AAAAA-0000-7000-8000-000000000000", "' OR ''='"} {
		_, err := s.ListNotifications(t.Context(), &notifyv1.ListNotificationsRequest{PageToken: token})
		require.True(t, notifyv1.IsNotificationInvalid(err), "%q: %v", token, err)
		require.ErrorContains(t, err, "page_token")
		_, err = s.ListInbox(t.Context(), &notifyv1.ListInboxRequest{PageToken: token})
		require.True(t, notifyv1.IsNotificationInvalid(err), "%q: %v", token, err)
		require.ErrorContains(t, err, "page_token")
	}
	other := errors.New("the database is gone")
	assert.Same(t, other, rpc.Error(other))
}
