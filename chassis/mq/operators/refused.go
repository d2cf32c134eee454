package operators

import (
	"context"
	"errors"
	"strings"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/page"
)

// mostRefused is how many refused events are listed.
const mostRefused = 100

// ListRefused returns this service's events that the broker refuses, oldest first.
func (s *Server) ListRefused(ctx context.Context, _ *mqv1.ListRefusedRequest) (*mqv1.ListRefusedReply, error) {
	ids, err := mq.RefusedEvents(ctx, s.db, mostRefused)
	if err != nil {
		return nil, err
	}
	t := trace{service: s.service, of: map[key]*mqv1.Message{}, ids: true}
	in, args := database.In(ids)
	if err := t.published(ctx, s.db, "id IN ("+in+")", args...); err != nil {
		return nil, err
	}
	return &mqv1.ListRefusedReply{Messages: t.sorted()}, nil
}

// DiscardRefused gives up the sending of one.
func (s *Server) DiscardRefused(ctx context.Context, req *mqv1.DiscardRefusedRequest) (*mqv1.DiscardRefusedReply, error) {
	err := mq.ErrNotRefused
	if rest, ok := strings.CutPrefix(req.GetId(), s.service+"-"); ok {
		if id, ok := page.Number(rest); ok {
			err = s.outbox.DiscardRefused(ctx, id)
		}
	}
	if errors.Is(err, mq.ErrNotRefused) {
		return nil, mqv1.ErrorRefusedNotFound("there is no refused event %s; it may have been sent or discarded: list them", req.GetId())
	}
	return &mqv1.DiscardRefusedReply{}, err
}
