// Package fanin answers mq.v1.Messages for the whole system: each service knows its own database only, so all of them are asked.
package fanin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/chassis/shown"
)

// Service is a service that serves Messages about its own database.
type Service struct {
	// Name is what the ids of its dead letters begin with.
	Name string
	Conn grpc.ClientConnInterface
}

// Conn is a connection to Messages of all services together, for a client of Messages. The outgoing metadata of a call, which includes the
// caller's token, goes to each service.
type Conn struct {
	mqv1.UnimplementedMessagesServer
	services []peer
	timeout  time.Duration
	log      *slog.Logger
}

type peer struct {
	name string
	mqv1.MessagesClient
}

// workTimes is how many times longer a service may take to do work than to answer a question.
const workTimes = 4

// New returns a Conn to services. Each may take timeout, and workTimes that when it replays or resends.
func New(services []Service, timeout time.Duration, log *slog.Logger) *Conn {
	c := &Conn{timeout: timeout, log: log}
	for _, s := range services {
		c.services = append(c.services, peer{s.Name, mqv1.NewMessagesClient(s.Conn)})
	}
	return c
}

// Invoke calls a method of Messages. Its errors are Kratos errors, as a service's are.
func (c *Conn) Invoke(ctx context.Context, operation string, args, reply any, _ ...grpc.CallOption) error {
	desc := mqv1.Messages_ServiceDesc
	name, _ := strings.CutPrefix(operation, "/"+desc.ServiceName+"/")
	i := slices.IndexFunc(desc.Methods, func(m grpc.MethodDesc) bool { return m.MethodName == name })
	if i < 0 {
		return status.Errorf(codes.Unimplemented, "%s is not of Messages", operation)
	}
	in, out := args.(proto.Message), reply.(proto.Message)
	// As a service's own checks, before a field is given another name.
	err := protovalidate.Validate(in)
	if err == nil {
		err = shown.Check(in)
	}
	if err != nil {
		return kerrors.BadRequest("VALIDATOR", err.Error()).WithCause(err)
	}
	made, err := desc.Methods[i].Handler(c, ctx, func(req any) error {
		proto.Merge(req.(proto.Message), in)
		return nil
	}, nil)
	if err != nil {
		return err
	}
	proto.Merge(out, made.(proto.Message))
	return nil
}

// NewStream fails: Messages has no streams.
func (c *Conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "Messages has no streams")
}

// GetDeadLetter asks the service that the id names.
func (c *Conn) GetDeadLetter(ctx context.Context, req *mqv1.GetDeadLetterRequest) (*mqv1.DeadLetter, error) {
	return one(ctx, c, req.GetId(), func(ctx context.Context, p peer) (*mqv1.DeadLetter, error) { return p.GetDeadLetter(ctx, req) })
}

// RedriveDeadLetter asks the service that the id names.
func (c *Conn) RedriveDeadLetter(ctx context.Context, req *mqv1.RedriveDeadLetterRequest) (*mqv1.RedriveReply, error) {
	return one(ctx, c, req.GetId(), func(ctx context.Context, p peer) (*mqv1.RedriveReply, error) { return p.RedriveDeadLetter(ctx, req) })
}

// DiscardDeadLetter asks the service that the id names.
func (c *Conn) DiscardDeadLetter(ctx context.Context, req *mqv1.DiscardDeadLetterRequest) (*mqv1.DiscardReply, error) {
	return one(ctx, c, req.GetId(), func(ctx context.Context, p peer) (*mqv1.DiscardReply, error) { return p.DiscardDeadLetter(ctx, req) })
}

// RedriveDeadLetters asks all services and adds up their replies.
func (c *Conn) RedriveDeadLetters(ctx context.Context, req *mqv1.RedriveDeadLettersRequest) (*mqv1.RedriveReply, error) {
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.RedriveReply, error) {
		return p.RedriveDeadLetters(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	sum := &mqv1.RedriveReply{Unreachable: unreachable}
	for _, r := range replies {
		sum.Redriven += r.GetRedriven()
		sum.Over += r.GetOver()
	}
	return sum, nil
}

// DiscardDeadLetters asks all services and adds up their replies.
func (c *Conn) DiscardDeadLetters(ctx context.Context, req *mqv1.DiscardDeadLettersRequest) (*mqv1.DiscardDeadLettersReply, error) {
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.DiscardDeadLettersReply, error) {
		return p.DiscardDeadLetters(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	sum := &mqv1.DiscardDeadLettersReply{Unreachable: unreachable}
	for _, r := range replies {
		sum.Discarded += r.GetDiscarded()
	}
	return sum, nil
}

// split returns the service and the number in a dead letter's id.
func split(id string) (service string, n int64, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "", 0, false
	}
	n, ok = page.Number(id[i+1:])
	return id[:i], n, ok
}

// one asks the service that id names. It answers 404 when there is no such service, and 503 when the service does not answer.
func one[R any](ctx context.Context, c *Conn, id string, ask func(context.Context, peer) (R, error)) (R, error) {
	var none R
	service, _, ok := split(id)
	i := slices.IndexFunc(c.services, func(p peer) bool { return p.name == service })
	if !ok || i < 0 {
		return none, mqv1.ErrorDeadLetterNotFound("there is no dead letter %s: ids are a service's name and a number, notify-17; list them", id)
	}
	return from(ctx, c.services[i], c.timeout, ask)
}

// from asks p. It answers 503 when p does not answer in time.
func from[R any](ctx context.Context, p peer, timeout time.Duration, ask func(context.Context, peer) (R, error)) (R, error) {
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := ask(asking, p)
	if err != nil && kerrors.FromError(err).Reason == "" && ctx.Err() == nil { // gRPC's own, not the service's
		var none R
		return none, tryLater(p.name+" does not answer: try again, which is harmless", err)
	}
	return reply, err
}

// each asks all services at once, and returns their replies and errors in the order of the services.
func each[R any](ctx context.Context, c *Conn, timeout time.Duration, ask func(context.Context, peer) (*R, error)) ([]*R, []error) {
	replies, errs := make([]*R, len(c.services)), make([]error, len(c.services))
	var wg sync.WaitGroup
	for i, p := range c.services {
		wg.Go(func() {
			asking, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			if replies[i], errs[i] = ask(asking, p); errs[i] != nil {
				replies[i] = nil
			}
		})
	}
	wg.Wait()
	return replies, errs
}

// all asks all services at once. It returns the replies, nil for each service that did not answer, and the names of those. It returns an error
// when a service's answer concerns the call itself (400, 401, 403), and when no service answers.
func all[R any](ctx context.Context, c *Conn, ask func(context.Context, peer) (*R, error)) (replies []*R, unreachable []string, err error) {
	replies, errs := each(ctx, c, c.timeout, ask)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		if concernsCall(err) {
			return nil, nil, err
		}
		c.log.WarnContext(ctx, "messages: no answer", "service", c.services[i].name, "err", err)
		unreachable = append(unreachable, c.services[i].name)
	}
	if len(unreachable) == len(c.services) {
		return nil, nil, tryLater("no service answers: try again", errors.Join(errs...))
	}
	return replies, unreachable, nil
}

// concernsCall reports whether a service's error is about the call itself: every service would answer so.
func concernsCall(err error) bool {
	switch kerrors.FromError(err).Code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return false
}

func tryLater(message string, cause error) error {
	return kerrors.ServiceUnavailable("TRY_LATER", message).WithMetadata(map[string]string{"retry_after": "2"}).
		WithCause(fmt.Errorf("messages: %w", cause))
}
