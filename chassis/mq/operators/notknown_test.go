package operators_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/operators"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	db, err := database.Open(database.Config{DSN: mysqltest.DSN(t), Wrap: faults.Wrap})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, mqlaws.Migrations, mq.Tables()))
	bus, consumed := mq.NewBus("notify", memory.New(), mq.Config{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { consumed <- bus.Consume(ctx, db, group, mqlaws.Effect("a")) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-consumed) })
	require.Eventually(t, func() bool { return len(bus.Groups()) == 1 }, 20*time.Second, time.Millisecond)
	require.NoError(t, bus.Publish(t.Context(), group.Topic, mqlaws.New("s", 0)))
	mqlaws.AwaitCount(t, db, 1, "SELECT COUNT(*) FROM mq_inbox")

	dir, signer := servicetest.Keys(t)
	cfg := service.Config{IdentityKeys: dir}
	cfg.GRPC.Addr, cfg.GRPC.Timeout, cfg.Admin.Addr, cfg.Log.Level = servicetest.FreeAddr(t), 10*time.Second, "127.0.0.1:0", "error"
	svc, err := service.New("notify", cfg)
	require.NoError(t, err)
	t.Cleanup(svc.Close)
	mqv1.RegisterMessagesServer(svc.GRPC, operators.NewServer("notify", db, bus, mq.NewOutbox(db, bus, mq.OutboxConfig{}), mq.MinKeep))
	servicetest.Serve(t, svc.Run)
	operator := servicetest.Bearer(t, signer, identity.Caller{MemberID: "m-1", Role: accessv1.Operator})
	var letters atomic.Int64
	letter := func(typ string, make func(id string) proto.Message) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) {
			event := fmt.Sprint("e-", letters.Add(1))
			dead(t, db, "notify-sms", event, typ)
			var id int64
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT id FROM mq_inbox WHERE event_id = ?", event).Scan(&id))
			return make(fmt.Sprint("notify-", id)), operator
		}
	}
	same := func(req proto.Message) func(*testing.T) (proto.Message, map[string]string) {
		return func(*testing.T) (proto.Message, map[string]string) { return req, operator }
	}
	silent := func(proto.Message) string { return "a reply" }
	redrive := func(id string) proto.Message { return &mqv1.RedriveDeadLetterRequest{Id: id} }
	servicetest.NotKnown(t, servicetest.Dial(t, cfg.GRPC.Addr), faults, []servicetest.Call{
		{Method: mqv1.Messages_ListDeadLetters_FullMethodName, Make: same(&mqv1.ListDeadLettersRequest{}), Says: silent},
		{Method: mqv1.Messages_GetDeadLetter_FullMethodName, Says: silent, Make: letter("member.registered", func(id string) proto.Message {
			return &mqv1.GetDeadLetterRequest{Id: id}
		})},
		{Method: mqv1.Messages_RedriveDeadLetter_FullMethodName, Make: letter("member.registered", redrive)},
		{Method: mqv1.Messages_RedriveDeadLetter_FullMethodName, Case: "unreadable", Make: letter("?", redrive)},
		{Method: mqv1.Messages_RedriveDeadLetter_FullMethodName, Case: "unknown", Make: same(redrive("notify-999999"))},
		{Method: mqv1.Messages_RedriveDeadLetters_FullMethodName, Says: silent, Make: letter("member.registered", func(string) proto.Message {
			return &mqv1.RedriveDeadLettersRequest{Group: "notify-sms"}
		})},
		{Method: mqv1.Messages_DiscardDeadLetter_FullMethodName, Make: letter("member.registered", func(id string) proto.Message {
			return &mqv1.DiscardDeadLetterRequest{Id: id}
		})},
		{Method: mqv1.Messages_TraceMessages_FullMethodName, Says: silent, Make: same(&mqv1.TraceMessagesRequest{Subject: "m-1"})},
		{Method: mqv1.Messages_ReplayMessages_FullMethodName, Says: silent, Make: func(t *testing.T) (proto.Message, map[string]string) {
			_, err := db.ExecContext(t.Context(), "DELETE FROM mq_inbox WHERE grp = ?", group.Group) // so that what is offered has its effect
			require.NoError(t, err)
			return &mqv1.ReplayMessagesRequest{Group: group.Group, Topic: group.Topic, From: ago(time.Minute)}, operator
		}},
		{Method: mqv1.Messages_ResendMessages_FullMethodName, Says: silent,
			Make: same(&mqv1.ResendMessagesRequest{Service: "notify", Topic: group.Topic, Since: ago(time.Minute)})},
	})
}
