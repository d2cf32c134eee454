package rpc

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
)

// Notifications serves the lists.
type Notifications struct {
	notifyv1.UnimplementedNotificationsServer
	store *mysql.Store
}

// NewNotifications serves what is in store.
func NewNotifications(store *mysql.Store) *Notifications { return &Notifications{store: store} }

// ListNotifications gives a page of notifications, newest first.
func (s *Notifications) ListNotifications(ctx context.Context, req *notifyv1.ListNotificationsRequest) (*notifyv1.ListNotificationsReply, error) {
	if token := req.GetPageToken(); token != "" {
		if id, err := uuid.Parse(token); err != nil || id.Version() != 7 || id.String() != token {
			return nil, badToken(token)
		}
	}
	filter := mysql.Filter{To: req.GetTo(), EventID: req.GetEventId(), Before: req.GetPageToken()}
	if req.GetState() != notifyv1.Notification_STATE_UNSPECIFIED {
		filter.State = notification.State(req.GetState().String()) // the proto's states have the domain's names
	}
	size := pageSize(req.GetPageSize())
	found, err := s.store.Notifications(ctx, filter, size+1)
	if err != nil {
		return nil, err
	}
	reply := &notifyv1.ListNotificationsReply{}
	if len(found) > int(size) {
		found = found[:size]
		reply.NextPageToken = found[size-1].ID
	}
	for _, n := range found {
		reply.Notifications = append(reply.Notifications, protoNotification(n))
	}
	return reply, nil
}

// ListInbox gives a page of what arrived in the demo's inbox, newest first. A page token is the number of an arrival.
func (s *Notifications) ListInbox(ctx context.Context, req *notifyv1.ListInboxRequest) (*notifyv1.ListInboxReply, error) {
	before := int64(0)
	if token := req.GetPageToken(); token != "" {
		var err error
		if before, err = strconv.ParseInt(token, 10, 64); err != nil || before < 1 || strconv.FormatInt(before, 10) != token {
			return nil, badToken(token)
		}
	}
	size := pageSize(req.GetPageSize())
	found, err := s.store.Inbox(ctx, req.GetTo(), before, size+1)
	if err != nil {
		return nil, err
	}
	reply := &notifyv1.ListInboxReply{}
	if len(found) > int(size) {
		found = found[:size]
		reply.NextPageToken = strconv.FormatInt(found[size-1].No, 10)
	}
	for _, m := range found {
		reply.Messages = append(reply.Messages, &notifyv1.InboxMessage{
			Id: m.ID, Channel: protoChannel(m.Channel), To: m.To, Subject: m.Subject, Text: m.Text, ReceivedAt: timestamppb.New(m.At),
		})
	}
	return reply, nil
}

func pageSize(asked int32) int32 {
	if asked == 0 {
		return 20
	}
	return asked
}

func badToken(token string) error {
	return Error(fmt.Errorf("%w page_token %.100q: send next_page_token of the page before, or none", notification.ErrInvalid, token))
}

func protoNotification(n notification.Notification) *notifyv1.Notification {
	return &notifyv1.Notification{
		Id: n.ID, Channel: protoChannel(n.Channel), To: n.To, Subject: n.Subject, Text: n.Text,
		State: notifyv1.Notification_State(notifyv1.Notification_State_value[string(n.State)]),
		Tries: n.Tries, LastError: n.LastError, EventId: n.EventID, EventType: n.EventType,
		CreatedAt: timestamppb.New(n.CreatedAt), ClosedAt: protoTime(n.ClosedAt),
	}
}

func protoChannel(c notification.Channel) notifyv1.Notification_Channel {
	return notifyv1.Notification_Channel(notifyv1.Notification_Channel_value[string(c)])
}

// protoTime gives nothing for the zero time.
func protoTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
