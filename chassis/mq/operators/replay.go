package operators

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/page"
)

// Limits of one call, so that it ends well before its caller gives up. A caller that wants more calls again.
const (
	partMessages = 500
	partTime     = 3 * time.Second
)

// spare is how long before its row is deleted an event stops counting as remembered. It covers clocks that differ, a row that was closed before
// the time that the broker or the outbox has for its event, a broker that is away for some hours, and the calls that follow.
const spare = 23 * time.Hour

// ReplayMessages does one part of a replay to a group that this service consumes. The error is GROUP_NOT_FOUND when this service does not
// consume the group, MESSAGES_INVALID with the name of a bad field, or TRY_LATER when the broker does not answer.
func (s *Server) ReplayMessages(ctx context.Context, req *mqv1.ReplayMessagesRequest) (*mqv1.ReplayMessagesReply, error) {
	if !slices.Contains(s.bus.Groups(), req.GetGroup()) {
		return nil, s.noGroup(req.GetGroup())
	}
	span := mq.Span{Group: req.GetGroup(), Topic: req.GetTopic()}
	var err error
	if span.From, span.To, err = s.span(ctx, bound{"from", req.GetFrom()}, bound{"to", req.GetTo()}, s.keep); err != nil {
		return nil, err
	}
	if span.Position, err = unseal(req.GetPosition(), span); err != nil {
		return nil, err
	}
	part, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	done, err := s.bus.Replay(part, span, partMessages)
	// What was done before an error is reported as a success; the next call meets the error again, if it lasts.
	if err != nil && (done.Offered == 0 || done.Next == "") {
		return nil, s.replayRefusal(span, err)
	}
	return &mqv1.ReplayMessagesReply{
		Service: s.service, Offered: done.Offered, Effects: done.Effects, Waiting: done.Waiting, Known: done.Known, Dropped: done.Dropped,
		To: timestamppb.New(span.To), Position: seal(done.Next, span),
	}, nil
}

// ResendMessages does one part of a resend of this service's outbox. The error is SERVICE_NOT_FOUND when the request names another service, or
// MESSAGES_INVALID with the name of a bad field.
func (s *Server) ResendMessages(ctx context.Context, req *mqv1.ResendMessagesRequest) (*mqv1.ResendMessagesReply, error) {
	if req.GetService() != s.service {
		return nil, mqv1.ErrorServiceNotFound("this is %s, not %s", s.service, req.GetService())
	}
	// The groups that had the events may belong to any service. None remembers for less than mq.MinKeep.
	since, until, err := s.span(ctx, bound{"since", req.GetSince()}, bound{"until", req.GetUntil()}, mq.MinKeep)
	if err != nil {
		return nil, err
	}
	sent, err := s.outbox.Resend(ctx, req.GetTopic(), since, until, partMessages)
	if err != nil {
		return nil, err
	}
	return &mqv1.ResendMessagesReply{Events: sent.Events, Until: timestamppb.New(sent.Until), More: sent.More}, nil
}

// bound is one end of a span of time, as the request gives it.
type bound struct {
	field string
	at    *timestamppb.Timestamp
}

// span reads a span of time by the database's clock, as that is what rows are deleted by. An absent to means now. It refuses a from so old that
// rows, which are kept for keep (0 for ever), may be gone.
func (s *Server) span(ctx context.Context, from, to bound, keep time.Duration) (begin, end time.Time, err error) {
	var now time.Time
	if err := s.db.QueryRowContext(ctx, "SELECT NOW(3)").Scan(&now); err != nil {
		return begin, end, err
	}
	oldest := time.Unix(0, 0) // no broker stored anything before that
	if keep > 0 {
		oldest = now.Add(spare - keep)
	}
	begin, end = from.at.AsTime(), now
	if to.at != nil {
		end = to.at.AsTime()
	}
	switch {
	case begin.Before(oldest):
		// An hour later than the bound, so that it is still accepted in the last call.
		return begin, end, mqv1.ErrorMessagesInvalid(
			"%s: at the earliest %s: of older events it may be forgotten that they had their effect, and they would have it again",
			from.field, oldest.Add(time.Hour).UTC().Format(time.RFC3339))
	case end.After(now):
		return begin, end, mqv1.ErrorMessagesInvalid("%s: lies in the future, it is %s: leave it out for now", to.field,
			now.Format(time.RFC3339Nano))
	case begin.After(end):
		return begin, end, mqv1.ErrorMessagesInvalid("%s: lies after %s, %s", from.field, to.field, end.Format(time.RFC3339Nano))
	}
	return begin, end, nil
}

func (s *Server) noGroup(group string) error {
	groups := strings.Join(s.bus.Groups(), ", ")
	return mqv1.ErrorGroupNotFound("%s consumes no group %s: it has %s", s.service, group, groups).
		WithMetadata(map[string]string{"groups": groups})
}

func (s *Server) replayRefusal(span mq.Span, err error) error {
	field := "topic"
	if span.Position != "" {
		field = "position"
	}
	switch {
	case errors.Is(err, mq.ErrNoConsumer): // its consumer has just ended
		return s.noGroup(span.Group)
	case errors.Is(err, mq.ErrRefused):
		return mqv1.ErrorMessagesInvalid("%s: %s", field, strings.TrimPrefix(err.Error(), mq.ErrRefused.Error()+": ")).WithCause(err)
	case errors.Is(err, mq.ErrNoHistory):
		return mqv1.ErrorMessagesInvalid(
			"topic: its messages are not kept by what transports them here: send them again from the outbox of who published them")
	case errors.Is(err, mq.ErrUnavailable), database.Unavailable(err):
		return kerrors.ServiceUnavailable("TRY_LATER", s.service+" does not get an answer from broker or database: call again, which is harmless").
			WithMetadata(map[string]string{"retry_after": "2"}).WithCause(err)
	}
	return err
}

// positions are those of a replay of span, as tokens for the caller.
func positions(span mq.Span) page.List {
	return page.Of("replay", span.Group, span.Topic, span.From.UTC().Format(time.RFC3339Nano), span.To.UTC().Format(time.RFC3339Nano))
}

// seal returns position as a token. An empty position, the end, stays empty.
func seal(position string, span mq.Span) string {
	if position == "" {
		return ""
	}
	return positions(span).Token(position)
}

// unseal returns the position in a token of seal.
func unseal(token string, span mq.Span) (string, error) {
	position, err := positions(span).After(token)
	if err != nil {
		return "", mqv1.ErrorMessagesInvalid(
			"position: not one of this replay: give that of the reply before, with its to and the same topic, group and from")
	}
	return position, nil
}
