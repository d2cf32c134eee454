package rpc

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
)

// Notifications serves the lists.
type Notifications struct {
	notifyv1.UnimplementedNotificationsServer
	store *mysql.Store
}

// NewNotifications returns the service over store.
func NewNotifications(store *mysql.Store) *Notifications { return &Notifications{store: store} }

// ListNotifications returns a page of notifications, newest first.
func (s *Notifications) ListNotifications(ctx context.Context, req *notifyv1.ListNotificationsRequest) (*notifyv1.ListNotificationsReply,
	error) {
	list := page.Of("notifications", req.GetTo(), req.GetEventId(), req.GetState().String())
	before, err := list.After(req.GetPageToken())
	if err != nil {
		return nil, Error(fmt.Errorf("%w %w", notification.ErrInvalid, err))
	}
	filter := mysql.Filter{To: req.GetTo(), EventID: req.GetEventId(), Before: before}
	if req.GetState() != notifyv1.Notification_STATE_UNSPECIFIED {
		filter.State = notification.State(req.GetState().String()) // the proto's states have the domain's names
	}
	size := page.Size(req.GetPageSize())
	found, err := s.store.Notifications(ctx, filter, size+1)
	if err != nil {
		return nil, err
	}
	reply := &notifyv1.ListNotificationsReply{}
	reply.Notifications, reply.NextPageToken = page.Cut(list, found, size,
		func(n notification.Notification) string { return n.ID }, protoNotification)
	return reply, nil
}

// ListInbox returns a page of what arrived in the demo's inbox, newest first.
func (s *Notifications) ListInbox(ctx context.Context, req *notifyv1.ListInboxRequest) (*notifyv1.ListInboxReply, error) {
	list := page.Of("inbox", req.GetTo())
	before, err := list.AfterNumber(req.GetPageToken())
	if err != nil {
		return nil, Error(fmt.Errorf("%w %w", notification.ErrInvalid, err))
	}
	size := page.Size(req.GetPageSize())
	found, err := s.store.Inbox(ctx, req.GetTo(), before, size+1)
	if err != nil {
		return nil, err
	}
	reply := &notifyv1.ListInboxReply{}
	reply.Messages, reply.NextPageToken = page.Cut(list, found, size,
		func(m notification.Received) string { return strconv.FormatInt(m.No, 10) }, protoReceived)
	return reply, nil
}

func protoReceived(m notification.Received) *notifyv1.InboxMessage {
	return &notifyv1.InboxMessage{
		Id: m.ID, Channel: protoChannel(m.Channel), To: m.To, Subject: m.Subject, Text: m.Text, ReceivedAt: timestamppb.New(m.At),
	}
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

// protoTime returns nil for the zero time.
func protoTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
