package fanin_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	served "example.com/fourfold/chassis/mq/operators"
)

// ReplayMessages works when the group's name begins with the store's, as in b-things; c has no groups.
func (s *store) ReplayMessages(_ context.Context, r *mqv1.ReplayMessagesRequest) (*mqv1.ReplayMessagesReply, error) {
	own := s.name + "-things"
	switch {
	case s.name == "c":
		return nil, mqv1.ErrorGroupNotFound("c consumes nothing").WithMetadata(map[string]string{"groups": ""})
	case r.GetGroup() != own:
		return nil, mqv1.ErrorGroupNotFound("not here").WithMetadata(map[string]string{"groups": own + ", shared"})
	case r.GetTopic() != "things":
		return nil, mqv1.ErrorMessagesInvalid("topic: no")
	}
	return &mqv1.ReplayMessagesReply{Service: s.name, Offered: 7, Position: "next of " + r.GetPosition()}, nil
}

func (s *store) ResendMessages(_ context.Context, r *mqv1.ResendMessagesRequest) (*mqv1.ResendMessagesReply, error) {
	if r.GetService() != s.name {
		return nil, mqv1.ErrorServiceNotFound("not here")
	}
	return &mqv1.ResendMessagesReply{Events: 3, More: true}, nil
}

func replay(group, topic string) *mqv1.ReplayMessagesRequest {
	return &mqv1.ReplayMessagesRequest{Group: group, Topic: topic, From: at(0), Position: "p"}
}

// TestReplayIsTheGroups tests that the service that consumes the group answers, even while another one hangs.
func TestReplayIsTheGroups(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, patient/4, a, b, c) // a service that does work may take patient
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer mine")
	for range 2 {
		began := time.Now()
		reply, err := client.ReplayMessages(ctx, replay("b-things", "things"))
		require.NoError(t, err)
		assert.Equal(t, "b 7 next of p", fmt.Sprint(reply.GetService(), " ", reply.GetOffered(), " ", reply.GetPosition()))
		assert.Less(t, time.Since(began), patient*3/4, "the others are not waited for")
		a.hang.Store(true)
	}
	assert.Equal(t, "Bearer mine", <-b.tokens)
	_, err := client.ReplayMessages(ctx, replay("b-things", "others"))
	refused(t, err, 400, "MESSAGES_INVALID")
	a.hang.Store(false)

	_, err = client.ReplayMessages(ctx, replay("nobody", "things"))
	refused(t, err, 404, "GROUP_NOT_FOUND")
	assert.Equal(t, "a-things, b-things, shared", kerrors.FromError(err).Metadata["groups"])
	assert.Contains(t, kerrors.FromError(err).Message, "there are a-things, b-things, shared")
	b.refuse = kerrors.ServiceUnavailable("TRY_LATER", "the broker is away")
	_, err = client.ReplayMessages(ctx, replay("b-things", "things"))
	refused(t, err, 503, "TRY_LATER")
	assert.Equal(t, "the broker is away", kerrors.FromError(err).Message)
	b.refuse = kerrors.Forbidden("OPERATOR_ONLY", "no")
	_, err = client.ReplayMessages(ctx, replay("nobody", "things"))
	refused(t, err, 403, "OPERATOR_ONLY")
}

// TestReplayWithoutItsService tests that it is unknown whether the group is consumed while a service does not answer.
func TestReplayWithoutItsService(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, time.Second, a, b, c)
	b.stop()
	_, err := client.ReplayMessages(t.Context(), replay("b-things", "things"))
	refused(t, err, 503, "TRY_LATER")
	assert.Contains(t, kerrors.FromError(err).Message, "b: no answer")
	c.hang.Store(true)
	_, err = client.ReplayMessages(t.Context(), replay("b-things", "things"))
	refused(t, err, 503, "TRY_LATER")
	assert.Contains(t, kerrors.FromError(err).Message, "b, c: no answer")
}

func TestResendIsTheServices(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, time.Second, a, b, c)
	reply, err := client.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "b", Since: at(0)})
	require.NoError(t, err)
	assert.EqualValues(t, 3, reply.GetEvents())
	assert.True(t, reply.GetMore())
	assert.Empty(t, a.tokens)
	_, err = client.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "nobody", Since: at(0)})
	refused(t, err, 404, "SERVICE_NOT_FOUND")
	assert.Contains(t, kerrors.FromError(err).Message, "there are a, b, c")
	b.stop()
	_, err = client.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "b", Since: at(0)})
	refused(t, err, 503, "TRY_LATER")
	for _, req := range []*mqv1.ResendMessagesRequest{{Since: at(0)}, {Service: "b"}} {
		_, err = client.ResendMessages(t.Context(), req)
		refused(t, err, 400, "VALIDATOR")
	}
	_, err = client.ReplayMessages(t.Context(), &mqv1.ReplayMessagesRequest{Group: "g", Topic: "t"})
	refused(t, err, 400, "VALIDATOR")
}

// TestRealReplay tests two services with databases of their own: one published and sends again, the other one consumes.
func TestRealReplay(t *testing.T) {
	t.Parallel()
	transport := memory.New()
	order, notify := mysqltest.Open(t, mqlaws.Migrations, mq.Tables()), mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
	publisher, consumer := mq.NewBus("order", transport, mq.Config{}), mq.NewBus("notify", transport, mq.Config{})
	outbox := mq.NewOutbox(order, publisher, mq.OutboxConfig{Poll: 20 * time.Millisecond})
	background(t, outbox.Relay)
	background(t, func(ctx context.Context) error {
		return consumer.Consume(ctx, notify, mq.Subscription{Group: "notify-things", Topic: "things", Order: mq.Strict}, mqlaws.Effect("a"))
	})
	client := serve(t, patient,
		&store{name: "order", real: served.NewServer("order", order, publisher, outbox, nil, mq.MinKeep)},
		&store{name: "notify", real: served.NewServer("notify", notify, consumer, mqtest.Absent(t, notify, "notify"), nil, mq.MinKeep)})
	since := timestamppb.New(time.Now().Add(-time.Minute))
	tx, err := order.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for n := range int64(5) {
		require.NoError(t, outbox.Append(t.Context(), tx, "things", mqlaws.New("s", n+1)))
	}
	require.NoError(t, tx.Commit())
	mqlaws.AwaitCount(t, notify, 5, "SELECT COUNT(*) FROM effect")
	mqlaws.AwaitCount(t, order, 5, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")

	replay := func(want string) {
		t.Helper()
		r, err := client.ReplayMessages(t.Context(), &mqv1.ReplayMessagesRequest{Group: "notify-things", Topic: "things", From: since})
		require.NoError(t, err)
		assert.Equal(t, want, fmt.Sprintf("%s: %d offered, %d effects, %d known%s", r.GetService(), r.GetOffered(), r.GetEffects(), r.GetKnown(),
			r.GetPosition()))
	}
	for _, stmt := range []string{"DELETE FROM effect WHERE seq = 5", "DELETE FROM mq_inbox WHERE seq = 5", "UPDATE mq_position SET seq = 4"} {
		_, err := notify.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	replay("notify: 5 offered, 1 effects, 4 known")

	sent, err := client.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "order", Topic: "things", Since: since})
	require.NoError(t, err)
	assert.Equal(t, "5 false", fmt.Sprint(sent.GetEvents(), " ", sent.GetMore()))
	mqlaws.AwaitCount(t, order, 5, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	replay("notify: 10 offered, 0 effects, 10 known")
	mqlaws.Settled(t, notify)
	_, err = client.ReplayMessages(t.Context(), &mqv1.ReplayMessagesRequest{Group: "nobody", Topic: "things", From: since})
	refused(t, err, 404, "GROUP_NOT_FOUND")
	assert.Contains(t, kerrors.FromError(err).Message, "there are notify-things")
}

// background runs work until the test ends.
func background(t *testing.T, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); assert.NoError(t, work(ctx)) }()
	t.Cleanup(func() { cancel(); <-done })
}
