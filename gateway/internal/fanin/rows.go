package fanin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	mqv1 "example.com/fourfold/api/mq/v1"
)

// ListRefused asks all services and sorts what they have by time.
func (c *Conn) ListRefused(ctx context.Context, req *mqv1.ListRefusedRequest) (*mqv1.ListRefusedReply, error) {
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.ListRefusedReply, error) {
		return p.ListRefused(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	sum := &mqv1.ListRefusedReply{Unreachable: unreachable}
	for _, r := range replies {
		sum.Messages = append(sum.Messages, r.GetMessages()...)
	}
	slices.SortStableFunc(sum.GetMessages(), func(a, b *mqv1.Message) int { return begun(a).Compare(begun(b)) })
	return sum, nil
}

// DiscardRefused asks the service that the id names.
func (c *Conn) DiscardRefused(ctx context.Context, req *mqv1.DiscardRefusedRequest) (*mqv1.DiscardRefusedReply, error) {
	reply, err := one(ctx, c, req.GetId(), func(ctx context.Context, p peer) (*mqv1.DiscardRefusedReply, error) {
		return p.DiscardRefused(ctx, req)
	})
	if mqv1.IsDeadLetterNotFound(err) { // no such service
		return nil, mqv1.ErrorRefusedNotFound("there is no refused event %s: ids are a service's name and a number, order-17; list them", req.GetId())
	}
	return reply, err
}

// ListPositions asks all services.
func (c *Conn) ListPositions(ctx context.Context, req *mqv1.ListPositionsRequest) (*mqv1.ListPositionsReply, error) {
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.ListPositionsReply, error) {
		return p.ListPositions(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	sum := &mqv1.ListPositionsReply{Unreachable: unreachable}
	for _, r := range replies {
		sum.Positions = append(sum.Positions, r.GetPositions()...)
	}
	return sum, nil
}

// MovePosition asks all services; the one that has the position moves it. The answer is 404 when none has it, and 503 when one that may have it
// does not answer.
func (c *Conn) MovePosition(ctx context.Context, req *mqv1.MovePositionRequest) (*mqv1.MovePositionReply, error) {
	replies, errs := each(ctx, c, c.timeout, func(ctx context.Context, p peer) (*mqv1.MovePositionReply, error) {
		return p.MovePosition(ctx, req)
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var silent []string
	for i, err := range errs {
		switch {
		case mqv1.IsPositionNotFound(err):
		case err == nil, answers(err):
			return replies[i], err
		default:
			silent = append(silent, c.services[i].name)
		}
	}
	if len(silent) > 0 {
		return nil, tryLater(strings.Join(silent, ", ")+": no answer, and no other service has the position: call again, which is harmless",
			errors.Join(errs...))
	}
	return nil, errs[0]
}

// ListAudits asks all services and sorts by group and publisher.
func (c *Conn) ListAudits(ctx context.Context, req *mqv1.ListAuditsRequest) (*mqv1.ListAuditsReply, error) {
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.ListAuditsReply, error) { return p.ListAudits(ctx, req) })
	if err != nil {
		return nil, err
	}
	sum := &mqv1.ListAuditsReply{Unreachable: unreachable}
	for _, r := range replies {
		sum.Audits = append(sum.Audits, r.GetAudits()...)
	}
	slices.SortFunc(sum.GetAudits(), func(a, b *mqv1.Audit) int {
		return cmp.Or(cmp.Compare(a.GetGroup(), b.GetGroup()), cmp.Compare(a.GetPublisher(), b.GetPublisher()))
	})
	return sum, nil
}
