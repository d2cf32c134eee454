package operators

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/mq"
)

// ListPositions returns how far the groups of this service are with a subject.
func (s *Server) ListPositions(ctx context.Context, req *mqv1.ListPositionsRequest) (*mqv1.ListPositionsReply, error) {
	positions, err := mq.Positions(ctx, s.db, req.GetSubject(), req.GetGroup())
	reply := &mqv1.ListPositionsReply{}
	for _, p := range positions {
		reply.Positions = append(reply.Positions, s.position(p))
	}
	return reply, err
}

// MovePosition makes a group of this service go on after another number. The error is POSITION_NOT_FOUND or POSITION_HELD.
func (s *Server) MovePosition(ctx context.Context, req *mqv1.MovePositionRequest) (*mqv1.MovePositionReply, error) {
	of := mq.Position{Group: req.GetGroup(), Source: req.GetSource(), Subject: req.GetSubject(), Generation: req.GetGeneration()}
	forgotten, err := mq.MovePosition(ctx, s.db, of, req.GetSequence())
	var front *mq.InFront
	switch {
	case errors.Is(err, mq.ErrNoPosition):
		return nil, mqv1.ErrorPositionNotFound("group %s has no position for subject %q of %s, generation %q: list the positions of the subject",
			of.Group, of.Subject, of.Source, of.Generation)
	case errors.Is(err, mq.ErrHadEffect):
		return nil, mqv1.ErrorPositionHeld("sequence: %v", err)
	case errors.As(err, &front):
		return nil, mqv1.ErrorPositionHeld("sequence: number %d is here and %s, and would be dropped: let it be handled or discard it first",
			front.Sequence, front.State).WithMetadata(map[string]string{"sequence": strconv.FormatInt(front.Sequence, 10)})
	case err != nil:
		return nil, err
	}
	now, err := mq.Positions(ctx, s.db, of.Subject, of.Group)
	if err != nil {
		return nil, err
	}
	reply := &mqv1.MovePositionReply{Forgotten: forgotten}
	for _, p := range now {
		if p.Source == of.Source && p.Generation == of.Generation {
			reply.Position = s.position(p)
		}
	}
	return reply, nil
}

func (s *Server) position(p mq.Position) *mqv1.Position {
	return &mqv1.Position{Service: s.service, Group: p.Group, Source: p.Source, Subject: p.Subject, Generation: p.Generation,
		Sequence: p.Sequence, At: timestamppb.New(p.At), Waiting: p.Waiting}
}
