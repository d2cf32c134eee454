// Package operators lets operators inspect one service's messages and act on them: dead letters, the way of each event, replays and resends.
package operators

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/page"
)

// Server serves one service's dead letters, what its outbox and inbox know about the way of events, and its part of replays and resends.
type Server struct {
	mqv1.UnimplementedMessagesServer
	service string
	db      *sql.DB
	dead    *mq.DeadLetters
	bus     *mq.Bus
	outbox  *mq.Outbox
	ways    *failover.Transport
	keep    time.Duration
}

// NewServer returns a Server of service. db holds the tables of package mq and keeps their closed rows for keep, 0 for ever. Replays go to the
// groups that bus consumes, resends come from outbox. ways says which way events go; without it the calls about that are not implemented.
func NewServer(service string, db *sql.DB, bus *mq.Bus, outbox *mq.Outbox, ways *failover.Transport, keep time.Duration) *Server {
	return &Server{service: service, db: db, dead: mq.NewDeadLetters(db, bus.Order), bus: bus, outbox: outbox, ways: ways, keep: keep}
}

// ListDeadLetters returns a page of dead letters, oldest first.
func (s *Server) ListDeadLetters(ctx context.Context, req *mqv1.ListDeadLettersRequest) (*mqv1.ListDeadLettersReply, error) {
	list := page.DeadLetters(s.service, req.GetGroup())
	after, err := list.AfterNumber(req.GetPageToken())
	if err != nil {
		return nil, mqv1.ErrorMessagesInvalid("%v", err)
	}
	size := page.Size(req.GetPageSize())
	letters, err := s.dead.List(ctx, req.GetGroup(), after, int(size)+1)
	if err != nil {
		return nil, err
	}
	reply := &mqv1.ListDeadLettersReply{}
	reply.DeadLetters, reply.NextPageToken = page.Cut(list, letters, size,
		func(l mq.DeadLetter) string { return strconv.FormatInt(l.ID, 10) }, s.proto)
	return reply, nil
}

// GetDeadLetter returns one dead letter with its event and its history.
func (s *Server) GetDeadLetter(ctx context.Context, req *mqv1.GetDeadLetterRequest) (*mqv1.DeadLetter, error) {
	id, err := s.row(req.GetId())
	if err != nil {
		return nil, err
	}
	l, err := s.dead.Read(ctx, id)
	if err != nil {
		return nil, s.refusal(req.GetId(), err)
	}
	return s.proto(l), nil
}

// RedriveDeadLetter gives one dead letter all its tries again.
func (s *Server) RedriveDeadLetter(ctx context.Context, req *mqv1.RedriveDeadLetterRequest) (*mqv1.RedriveReply, error) {
	id, err := s.row(req.GetId())
	if err != nil {
		return nil, err
	}
	if err := s.dead.Redrive(ctx, id); err != nil {
		return nil, s.refusal(req.GetId(), err)
	}
	return &mqv1.RedriveReply{Redriven: 1}, nil
}

// RedriveDeadLetters gives all dead letters of a group their tries again. A group of another service has none here.
func (s *Server) RedriveDeadLetters(ctx context.Context, req *mqv1.RedriveDeadLettersRequest) (*mqv1.RedriveReply, error) {
	if req.GetGroup() == "" {
		return nil, mqv1.ErrorMessagesInvalid("group: say whose dead letters are to be tried again")
	}
	done, err := s.dead.RedriveAll(ctx, req.GetGroup())
	if err != nil {
		return nil, err
	}
	return &mqv1.RedriveReply{Redriven: done.Redriven, Over: done.Over}, nil
}

// DiscardDeadLetter gives up the effect of one dead letter.
func (s *Server) DiscardDeadLetter(ctx context.Context, req *mqv1.DiscardDeadLetterRequest) (*mqv1.DiscardReply, error) {
	id, err := s.row(req.GetId())
	if err != nil {
		return nil, err
	}
	if err := s.dead.Discard(ctx, id); err != nil {
		return nil, s.refusal(req.GetId(), err)
	}
	return &mqv1.DiscardReply{}, nil
}

// DiscardDeadLetters gives up the letters of a group that are no events of a service. A group of another service has none here.
func (s *Server) DiscardDeadLetters(ctx context.Context, req *mqv1.DiscardDeadLettersRequest) (*mqv1.DiscardDeadLettersReply, error) {
	if req.GetGroup() == "" {
		return nil, mqv1.ErrorMessagesInvalid("group: say whose dead letters are to be discarded")
	}
	n, err := s.dead.DiscardUnreadable(ctx, req.GetGroup())
	if err != nil {
		return nil, err
	}
	return &mqv1.DiscardDeadLettersReply{Discarded: n}, nil
}

// row returns the row that id names, or an error when id is not of this service.
func (s *Server) row(id string) (int64, error) {
	if rest, ok := strings.CutPrefix(id, s.service+"-"); ok {
		if n, ok := page.Number(rest); ok {
			return n, nil
		}
	}
	return 0, s.refusal(id, mq.ErrNoDeadLetter)
}

func (s *Server) refusal(id string, err error) error {
	var front *mq.InFront
	switch {
	case errors.As(err, &front):
		return s.waits(id, front)
	case errors.Is(err, mq.ErrTurnOver):
		return mqv1.ErrorDeadLetterOver("dead letter %s: %v, so a later event of its subject had its effect, and this one can have none: discard it",
			id, err)
	case errors.Is(err, mq.ErrNoDeadLetter):
		return mqv1.ErrorDeadLetterNotFound("there is no dead letter %s; it may have been redriven or discarded: list them", id)
	case errors.Is(err, mq.ErrUnreadable):
		return mqv1.ErrorDeadLetterUnreadable("dead letter %s is no event, so it cannot be tried again: discard it", id)
	}
	return err
}

// waits returns the refusal of a letter that an earlier event of its subject is in front of.
func (s *Server) waits(id string, front *mq.InFront) error {
	metadata := map[string]string{"sequence": strconv.FormatInt(front.Sequence, 10)}
	what := "which is being tried; this one goes on by itself after it"
	if front.State == "DEAD" {
		metadata["dead_letter"] = s.id(front.ID)
		what = "dead letter " + s.id(front.ID) + ": redrive or discard that first; this one goes on by itself after it"
	}
	return mqv1.ErrorDeadLetterWaits("dead letter %s: number %d in front of it is here, %s", id, front.Sequence, what).WithMetadata(metadata)
}

// id returns the id of the dead letter in row n.
func (s *Server) id(n int64) string { return s.service + "-" + strconv.FormatInt(n, 10) }

func (s *Server) proto(l mq.DeadLetter) *mqv1.DeadLetter {
	return &mqv1.DeadLetter{
		Id: s.id(l.ID), Service: s.service, Group: l.Group, Topic: l.Topic, EventId: l.EventID,
		Source: l.Source, Type: l.Type, Subject: l.Subject, Generation: l.Generation, Sequence: l.Sequence,
		Tries: int32(l.Tries), Reason: text(l.Reason),
		At: timestamppb.New(l.At), History: lines(l.History), Event: text(string(l.Event[:min(len(l.Event), page.MaxBytes)])),
	}
}

// text returns s as a proto can carry it: a message that is not an event may hold anything, and a history is cut at its front.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func lines(history string) []string {
	if history = strings.TrimRight(history, "\n"); history == "" {
		return nil
	}
	return strings.Split(text(history), "\n")
}
