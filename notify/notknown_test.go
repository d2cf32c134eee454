package main

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service/servicetest"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	cfg, signer := testConfig(t)
	cfg.MySQL.Wrap, cfg.Faults = faults.Wrap, true // reflection says what is served
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	operator := servicetest.Bearer(t, signer, identity.Caller{MemberID: "m-1", Role: accessv1.Operator})
	call := func(method string, req proto.Message) servicetest.Call {
		return servicetest.Call{Method: method, Make: func(*testing.T) (proto.Message, map[string]string) { return req, operator }}
	}
	servicetest.NotKnown(t, servicetest.Dial(t, cfg.GRPC.Addr), faults, []servicetest.Call{
		call(notifyv1.Notifications_ListNotifications_FullMethodName, &notifyv1.ListNotificationsRequest{}),
		call(notifyv1.Notifications_ListInbox_FullMethodName, &notifyv1.ListInboxRequest{}),
	}, "mq.v1.Messages", "mq.v1.Sent")
}
