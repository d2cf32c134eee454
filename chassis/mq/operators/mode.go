package operators

import (
	"context"
	"errors"
	"log/slog"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/redis"
)

// GetMode returns which way events go, as Redis says, or as this process last knew when that does not answer.
func (s *Server) GetMode(ctx context.Context, req *mqv1.GetModeRequest) (*mqv1.ModeReply, error) {
	if s.ways == nil {
		return s.UnimplementedMessagesServer.GetMode(ctx, req)
	}
	return s.mode(s.ways.Status(ctx)), nil
}

// ForceMode makes the mode what an operator wants. Each use is logged with who wants it, and why. The error is TRY_LATER when Redis is away.
func (s *Server) ForceMode(ctx context.Context, req *mqv1.ForceModeRequest) (*mqv1.ModeReply, error) {
	if s.ways == nil {
		return s.UnimplementedMessagesServer.ForceMode(ctx, req)
	}
	force := map[mqv1.Force]redis.Force{mqv1.Force_DEGRADED: redis.Held, mqv1.Force_NORMAL: redis.Pinned, mqv1.Force_AUTOMATIC: redis.Automatic}
	operator := identity.FromContext(ctx).MemberID
	log := slog.With("operator", operator, "mode", req.GetMode().String(), "reason", req.GetReason())
	err := s.ways.Force(ctx, force[req.GetMode()], operator, req.GetReason())
	switch {
	case errors.Is(err, mq.ErrUnavailable), errors.Is(err, failover.ErrMoving):
		log.WarnContext(ctx, "an operator did not get to force the way of events", "err", err)
		return nil, kerrors.ServiceUnavailable("TRY_LATER",
			s.service+" cannot move the switch: Redis does not answer, or others move it: call again, which is harmless").
			WithMetadata(map[string]string{"retry_after": "2"}).WithCause(err)
	case err != nil:
		return nil, err
	}
	log.WarnContext(ctx, "an operator forces the way of events")
	return s.mode(s.ways.Status(ctx)), nil
}

// mode returns st as operators read it.
func (s *Server) mode(st failover.Status) *mqv1.ModeReply {
	of := st.State
	r := &mqv1.ModeReply{
		Mode: shown(of.Mode), Epoch: of.Epoch, Since: unlessZero(of.Since), Why: text(of.Why), By: text(of.By), Opener: text(of.Opener),
		Force: forced(of.Force), RedisAnswered: st.Answered, AsOf: unlessZero(st.AsOf), Service: s.service,
		Entries: st.Backlog.Entries, OldestAt: unlessZero(st.Backlog.Oldest),
	}
	if of.Lease.UnixMilli() > 0 {
		r.LeaseUntil = timestamppb.New(of.Lease)
	}
	for _, q := range st.Backlog.Shards {
		r.Queues = append(r.Queues, &mqv1.ModeReply_Queue{Shard: int32(q.Shard), Entries: q.Entries, OldestAt: unlessZero(q.Oldest)})
	}
	for _, g := range st.Backlog.Groups {
		r.Groups = append(r.Groups, &mqv1.ModeReply_Group{Group: g.Group, Entries: g.Entries, Instances: g.Instances})
	}
	for _, c := range st.Changes {
		change := &mqv1.ModeReply_Change{At: timestamppb.New(c.At), From: shown(c.From), To: shown(c.To), By: text(c.By), Why: text(c.Why)}
		if c.From == c.To {
			change.Force = forced(c.Force).Enum()
		}
		r.Changes = append(r.Changes, change)
	}
	return r
}

// shown returns the mode as operators know it: HANDOVER lasts a second at most and is the end of DRAINING.
func shown(m redis.Mode) string {
	if m == redis.Handover {
		m = redis.Draining
	}
	return string(m)
}

func forced(f redis.Force) mqv1.Force {
	switch f {
	case redis.Held:
		return mqv1.Force_DEGRADED
	case redis.Pinned:
		return mqv1.Force_NORMAL
	}
	return mqv1.Force_AUTOMATIC
}
