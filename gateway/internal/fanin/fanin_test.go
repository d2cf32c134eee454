package fanin_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/fanin"
)

// start is when the first letter was given up.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// patient is how long services may take where none hangs: the machine may be busy.
const patient = 20 * time.Second

// store stands in for one service: its letters, by number from 1, and its part of a trace.
type store struct {
	mqv1.UnimplementedMessagesServer
	name    string
	letters []*mqv1.DeadLetter
	trace   []*mqv1.Message
	refuse  error
	redis   bool // whether it answers this one
	knows   int  // when it last did
	forced  atomic.Int64
	real    mqv1.MessagesServer // replaces all that, if set

	hang   atomic.Bool
	tokens chan string // the authorization of each call
	stop   func()
}

// letter adds a letter of the group, given up so many seconds after start.
func (s *store) letter(group string, second int) {
	n := len(s.letters) + 1
	s.letters = append(s.letters, &mqv1.DeadLetter{Id: fmt.Sprint(s.name, "-", n), Service: s.name, Group: group,
		At: timestamppb.New(start.Add(time.Duration(second) * time.Second))})
}

func (s *store) ListDeadLetters(_ context.Context, r *mqv1.ListDeadLettersRequest) (*mqv1.ListDeadLettersReply, error) {
	list := page.DeadLetters(s.name, r.GetGroup())
	after, err := list.AfterNumber(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	reply := &mqv1.ListDeadLettersReply{}
	for i, l := range s.letters {
		if i < int(after) || r.GetGroup() != "" && r.GetGroup() != l.GetGroup() {
			continue
		}
		if len(reply.DeadLetters) == int(r.GetPageSize()) {
			_, last, _ := strings.Cut(reply.DeadLetters[len(reply.DeadLetters)-1].GetId(), "-")
			reply.NextPageToken = list.Token(last)
			break
		}
		reply.DeadLetters = append(reply.DeadLetters, l)
	}
	return reply, nil
}

func (s *store) GetDeadLetter(_ context.Context, r *mqv1.GetDeadLetterRequest) (*mqv1.DeadLetter, error) {
	for _, l := range s.letters {
		if l.GetId() == r.GetId() {
			return l, nil
		}
	}
	return nil, kerrors.NotFound("DEAD_LETTER_NOT_FOUND", "none at "+s.name)
}

func (s *store) RedriveDeadLetter(context.Context, *mqv1.RedriveDeadLetterRequest) (*mqv1.RedriveReply, error) {
	return &mqv1.RedriveReply{Redriven: 1}, nil
}

func (s *store) RedriveDeadLetters(_ context.Context, r *mqv1.RedriveDeadLettersRequest) (*mqv1.RedriveReply, error) {
	reply := &mqv1.RedriveReply{}
	for _, l := range s.letters {
		if l.GetGroup() == r.GetGroup() {
			reply.Redriven++
		}
	}
	return reply, nil
}

func (s *store) TraceMessages(context.Context, *mqv1.TraceMessagesRequest) (*mqv1.TraceMessagesReply, error) {
	return &mqv1.TraceMessagesReply{Messages: s.trace}, nil
}

// serve starts the services and returns a client of all of them together, which waits up to patience for each.
func serve(t *testing.T, patience time.Duration, stores ...*store) mqv1.MessagesClient {
	t.Helper()
	var services []fanin.Service
	for _, s := range stores {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s.tokens = make(chan string, 100)
		server := grpc.NewServer(grpc.UnaryInterceptor(
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				md, _ := metadata.FromIncomingContext(ctx)
				s.tokens <- strings.Join(md.Get("authorization"), ",")
				if s.hang.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				if s.refuse != nil {
					return nil, s.refuse
				}
				return next(ctx, req)
			}))
		if s.real != nil {
			mqv1.RegisterMessagesServer(server, s.real)
		} else {
			mqv1.RegisterMessagesServer(server, s)
		}
		go func() { _ = server.Serve(lis) }()
		s.stop = server.Stop
		t.Cleanup(server.Stop)
		conn, err := service.Dial(lis.Addr().String(), mtls.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		services = append(services, fanin.Service{Name: s.name, Conn: conn})
	}
	return mqv1.NewMessagesClient(fanin.New(services, patience, slog.New(slog.DiscardHandler)))
}

// three services whose letters interleave by time: a-1 b-1 a-2 b-2 …, and c has none.
func three() (a, b, c *store) {
	a, b, c = &store{name: "a"}, &store{name: "b"}, &store{name: "c"}
	for i := range 7 {
		a.letter("g", 2*i)
		b.letter([]string{"g", "h"}[i%2], 2*i+1)
	}
	return a, b, c
}

// pages reads all pages and returns the ids, and the services that were unreachable on any of them.
func pages(t *testing.T, client mqv1.MessagesClient, r *mqv1.ListDeadLettersRequest) (ids, unreachable []string) {
	t.Helper()
	for range 100 {
		page, err := client.ListDeadLetters(t.Context(), r)
		require.NoError(t, err)
		if r.GetPageSize() > 0 {
			require.LessOrEqual(t, len(page.GetDeadLetters()), int(r.GetPageSize()))
		}
		for _, l := range page.GetDeadLetters() {
			ids = append(ids, l.GetId())
		}
		unreachable = append(unreachable, page.GetUnreachable()...)
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
			return ids, unreachable
		}
		require.LessOrEqual(t, len(r.PageToken), 500)
	}
	t.Fatal("no last page")
	return nil, nil
}

func TestMergedPages(t *testing.T) {
	t.Parallel()
	client := serve(t, patient, func() []*store { a, b, c := three(); return []*store{a, b, c} }()...)
	want := strings.Fields("a-1 b-1 a-2 b-2 a-3 b-3 a-4 b-4 a-5 b-5 a-6 b-6 a-7 b-7")
	for _, size := range []int32{0, 1, 2, 3, 5, 13, 14, 15, 100} {
		ids, unreachable := pages(t, client, &mqv1.ListDeadLettersRequest{PageSize: size})
		assert.Equal(t, want, ids, "page size %d", size)
		assert.Empty(t, unreachable)
	}
	ids, _ := pages(t, client, &mqv1.ListDeadLettersRequest{PageSize: 2, Group: "h"})
	assert.Equal(t, []string{"b-2", "b-4", "b-6"}, ids)
}

// TestUnreachable tests that a service that does not answer, dead or hanging, is named on each page, and that the others' letters are all there,
// in time.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, time.Second, a, b, c)
	b.stop()
	c.hang.Store(true)
	began := time.Now()
	page, err := client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageSize: 4})
	require.NoError(t, err)
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.Equal(t, []string{"b", "c"}, page.GetUnreachable())
	require.Len(t, page.GetDeadLetters(), 4)
	assert.Equal(t, "a-4", page.GetDeadLetters()[3].GetId())

	reply, err := client.RedriveDeadLetters(t.Context(), &mqv1.RedriveDeadLettersRequest{Group: "g"})
	require.NoError(t, err)
	assert.EqualValues(t, 7, reply.GetRedriven())
	assert.Equal(t, []string{"b", "c"}, reply.GetUnreachable())

	traced, err := client.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{OrderId: "o1"})
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "c"}, traced.GetUnreachable())

	a.hang.Store(true)
	_, err = client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{})
	refused(t, err, 503, "TRY_LATER")
}

// TestServiceComesBackBetweenPages tests that a service that was away takes up its place on the next page.
func TestServiceComesBackBetweenPages(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, time.Second, a, b, c)
	first, err := client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageSize: 2})
	require.NoError(t, err)
	b.hang.Store(true)
	second, err := client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageSize: 2, PageToken: first.GetNextPageToken()})
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, second.GetUnreachable())
	b.hang.Store(false)
	ids, unreachable := pages(t, client, &mqv1.ListDeadLettersRequest{PageSize: 2, PageToken: second.GetNextPageToken()})
	assert.Equal(t, strings.Fields("b-2 b-3 a-4 b-4 a-5 b-5 a-6 b-6 a-7 b-7"), ids)
	assert.Empty(t, unreachable)
}

func TestTamperedTokens(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, patient, a, b, c)
	page, err := client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageSize: 3})
	require.NoError(t, err)
	token := page.GetNextPageToken()
	tampered := []string{"x", "5", "%", "YT0x", token + "A", token[1:], token[:len(token)-1]}
	for i := range token { // each character changed
		changed := []byte(token)
		if changed[i]++; changed[i] > 'z' {
			changed[i] = 'A'
		}
		tampered = append(tampered, string(changed))
	}
	for _, token := range tampered {
		_, err := client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageToken: token})
		refused(t, err, 400, "MESSAGES_INVALID")
	}
	_, err = client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageToken: token, Group: "g"})
	refused(t, err, 400, "MESSAGES_INVALID")
	_, err = client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageToken: strings.Repeat("A", 501)})
	refused(t, err, 400, "VALIDATOR")
	_, err = client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageSize: 101})
	refused(t, err, 400, "VALIDATOR")
}

func TestOneIsAskedByItsID(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, time.Second, a, b, c)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer mine")
	letter, err := client.GetDeadLetter(ctx, &mqv1.GetDeadLetterRequest{Id: "b-2"})
	require.NoError(t, err)
	assert.Equal(t, "b-2", letter.GetId())
	assert.Equal(t, "Bearer mine", <-b.tokens)
	redriven, err := client.RedriveDeadLetter(ctx, &mqv1.RedriveDeadLetterRequest{Id: "b-2"})
	require.NoError(t, err)
	assert.EqualValues(t, 1, redriven.GetRedriven())
	assert.Empty(t, a.tokens)
	assert.Empty(t, c.tokens)
	for _, id := range []string{"b-9", "d-1", "b", "b-", "b-x", "b-0", "b-02", "b--1", "-1", "b-99999999999999999999"} {
		_, err := client.GetDeadLetter(ctx, &mqv1.GetDeadLetterRequest{Id: id})
		refused(t, err, 404, "DEAD_LETTER_NOT_FOUND")
		if id != "b-9" {
			_, err = client.DiscardDeadLetter(ctx, &mqv1.DiscardDeadLetterRequest{Id: id})
			refused(t, err, 404, "DEAD_LETTER_NOT_FOUND")
		}
	}
	_, err = client.DiscardDeadLetter(ctx, &mqv1.DiscardDeadLetterRequest{Id: "c-1"})
	refused(t, err, 503, "TRY_LATER") // c is older and does not know the method
	c.hang.Store(true)
	_, err = client.GetDeadLetter(ctx, &mqv1.GetDeadLetterRequest{Id: "c-1"})
	refused(t, err, 503, "TRY_LATER")
	b.stop()
	_, err = client.RedriveDeadLetter(ctx, &mqv1.RedriveDeadLetterRequest{Id: "b-2"})
	refused(t, err, 503, "TRY_LATER")
	assert.Equal(t, "2", kerrors.FromError(err).Metadata["retry_after"])
}

// TestRefusals tests that an answer about the caller is the answer, and that an answer about the service itself makes it unreachable.
func TestRefusals(t *testing.T) {
	t.Parallel()
	a, b, c := three()
	client := serve(t, patient, a, b, c)
	b.refuse = kerrors.ServiceUnavailable("TRY_LATER", "its database is away")
	page, err := client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, page.GetUnreachable())
	b.refuse = kerrors.Forbidden("OPERATOR_ONLY", "no")
	_, err = client.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{})
	refused(t, err, 403, "OPERATOR_ONLY")
	b.refuse = kerrors.BadRequest("MESSAGES_INVALID", "one of the three")
	_, err = client.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{})
	refused(t, err, 400, "MESSAGES_INVALID")
}

func at(second int) *timestamppb.Timestamp {
	return timestamppb.New(start.Add(time.Duration(second) * time.Second))
}

func TestTraceIsJoined(t *testing.T) {
	t.Parallel()
	had := func(service, group string, second int) *mqv1.Consumption {
		return &mqv1.Consumption{Service: service, Group: group, FirstAt: at(second)}
	}
	event := func(source, id string, seq int64, more *mqv1.Message) *mqv1.Message {
		more.Source, more.EventId, more.Sequence, more.Subject = source, id, seq, "o1"
		return more
	}
	order := &store{name: "order", trace: []*mqv1.Message{
		event("/order", "e1", 1, &mqv1.Message{Service: "order", State: "SENT", BornAt: at(1)}),
		event("/order", "e2", 2, &mqv1.Message{Service: "order", State: "SENT", BornAt: at(5),
			Consumptions: []*mqv1.Consumption{had("order", "own", 9)}}),
		event("/order", "e3", 3, &mqv1.Message{Service: "order", State: "READY", BornAt: at(4)}), // a clock that was set back
		event("/wms", "e1", 1, &mqv1.Message{Type: "delivery.shipped", Consumptions: []*mqv1.Consumption{had("order", "order-deliveries", 6)}}),
	}}
	notify := &store{name: "notify", trace: []*mqv1.Message{
		event("/order", "e1", 1,
			&mqv1.Message{Type: "order.created", Topic: "order-events", Consumptions: []*mqv1.Consumption{had("notify", "notify-orders", 3)}}),
		event("/order", "e2", 2, &mqv1.Message{Consumptions: []*mqv1.Consumption{had("notify", "notify-orders", 7)}}),
	}}
	credit := &store{name: "credit", trace: []*mqv1.Message{
		event("/order", "e1", 1, &mqv1.Message{Consumptions: []*mqv1.Consumption{had("credit", "c", 2)}}),
	}}
	// In whatever order the services are listed.
	for _, stores := range [][]*store{{order, notify, credit}, {credit, notify, order}} {
		reply, err := serve(t, patient, stores...).TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{OrderId: "o1"})
		require.NoError(t, err)
		var lines []string
		for _, m := range reply.GetMessages() {
			said := m.GetSource() + " " + m.GetEventId() + " " + m.GetState()
			for _, c := range m.GetConsumptions() {
				said += " " + c.GetGroup()
			}
			lines = append(lines, said)
		}
		assert.Equal(t, []string{
			"/order e1 SENT c notify-orders", "/order e2 SENT notify-orders own", "/order e3 READY", "/wms e1  order-deliveries",
		}, lines)
		assert.Equal(t, "order.created", reply.GetMessages()[0].GetType())
		assert.Equal(t, "order-events", reply.GetMessages()[0].GetTopic())
	}
}

func refused(t *testing.T, err error, code int32, reason string) {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, code, kerrors.FromError(err).Code, err)
	assert.Equal(t, reason, kerrors.FromError(err).Reason, err)
}
