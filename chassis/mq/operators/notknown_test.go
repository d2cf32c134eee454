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
	"google.golang.org/protobuf/types/known/durationpb"

	accessv1 "example.com/fourfold/api/access/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/operators"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	at := mysqltest.Config(t)
	at.Wrap = faults.Wrap
	db, err := database.Open(at)
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
	cfg := service.Config{IdentityKeys: dir, Faults: true} // reflection says what is served
	cfg.GRPC.Addr, cfg.GRPC.Timeout, cfg.Admin.Addr, cfg.Log.Level = servicetest.FreeAddr(t), 10*time.Second, "127.0.0.1:0", "error"
	svc, err := service.New("notify", cfg)
	require.NoError(t, err)
	t.Cleanup(svc.Close)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{})
	mqv1.RegisterMessagesServer(svc.GRPC, operators.NewServer("notify", db, bus, outbox, nil, mq.MinKeep))
	mqv1.RegisterSentServer(svc.GRPC, audit.NewServer(mqtest.Keys(), db, outbox))
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
	insert := func(stmt string, args ...any) int64 {
		done, err := db.ExecContext(t.Context(), stmt, args...)
		require.NoError(t, err)
		id, err := done.LastInsertId()
		require.NoError(t, err)
		return id
	}
	wanted := &mqv1.Wanted{CallId: "1", Topic: group.Topic, Settled: durationpb.New(time.Second)}
	signed := func(method string, req proto.Message) func(*testing.T) (proto.Message, map[string]string) {
		return func(*testing.T) (proto.Message, map[string]string) {
			return req, mqtest.Keys().CallHeaders(method, req)
		}
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
		{Method: mqv1.Messages_DiscardDeadLetters_FullMethodName, Says: silent, Make: letter("?", func(string) proto.Message {
			return &mqv1.DiscardDeadLettersRequest{Group: "notify-sms"}
		})},
		{Method: mqv1.Messages_TraceMessages_FullMethodName, Says: silent, Make: same(&mqv1.TraceMessagesRequest{Subject: "m-1"})},
		{Method: mqv1.Messages_ReplayMessages_FullMethodName, Says: silent, Make: func(t *testing.T) (proto.Message, map[string]string) {
			_, err := db.ExecContext(t.Context(), "DELETE FROM mq_inbox WHERE grp = ?", group.Group) // so that what is offered has its effect
			require.NoError(t, err)
			return &mqv1.ReplayMessagesRequest{Group: group.Group, Topic: group.Topic, From: ago(time.Minute)}, operator
		}},
		{Method: mqv1.Messages_ResendMessages_FullMethodName, Says: silent,
			Make: same(&mqv1.ResendMessagesRequest{Service: "notify", Topic: group.Topic, Since: ago(time.Minute)})},
		{Method: mqv1.Messages_ListRefused_FullMethodName, Says: silent, Make: same(&mqv1.ListRefusedRequest{})},
		{Method: mqv1.Messages_DiscardRefused_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			id := insert(`INSERT INTO mq_outbox (event_id, topic, subject, event, state, refused_at) VALUES (UUID(), 'things', 's', '{}', 'READY', NOW(3))`)
			return &mqv1.DiscardRefusedRequest{Id: fmt.Sprint("notify-", id)}, operator
		}},
		{Method: mqv1.Messages_ListPositions_FullMethodName, Says: silent, Make: same(&mqv1.ListPositionsRequest{Subject: "s"})},
		{Method: mqv1.Messages_MovePosition_FullMethodName, Says: silent, Make: func(t *testing.T) (proto.Message, map[string]string) {
			subject := fmt.Sprint("moved-", letters.Add(1))
			insert(`INSERT INTO mq_position (grp, source, subject, seq) VALUES ('g', '/order', ?, 7)`, subject)
			return &mqv1.MovePositionRequest{Group: "g", Source: "/order", Subject: subject, Sequence: 5}, operator
		}},
		{Method: mqv1.Messages_ListAudits_FullMethodName, Says: silent, Make: same(&mqv1.ListAuditsRequest{})},
		{Method: mqv1.Sent_SumSent_FullMethodName, Says: silent,
			Make: signed(mqv1.Sent_SumSent_FullMethodName, &mqv1.SumSentRequest{Wanted: wanted})},
		{Method: mqv1.Sent_ListSent_FullMethodName, Says: silent,
			Make: signed(mqv1.Sent_ListSent_FullMethodName, &mqv1.ListSentRequest{Wanted: wanted})},
		{Method: mqv1.Sent_SendAgain_FullMethodName, Says: silent,
			Make: signed(mqv1.Sent_SendAgain_FullMethodName, &mqv1.SendAgainRequest{CallId: "1", Ids: []string{"none"}, Settled: durationpb.New(time.Second)})},
		{Method: mqv1.Sent_SendNumbers_FullMethodName, Says: silent, Make: signed(mqv1.Sent_SendNumbers_FullMethodName,
			&mqv1.SendNumbersRequest{CallId: "1", Topic: "t", Source: "/s", Subject: "x", First: 1, Last: 1})},
	}, mqv1.Messages_GetMode_FullMethodName, mqv1.Messages_ForceMode_FullMethodName) // those ask Redis
}
