package operators

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/mq/audit"
)

// ListAudits returns what the groups of this service know about the events of each publisher.
func (s *Server) ListAudits(ctx context.Context, _ *mqv1.ListAuditsRequest) (*mqv1.ListAuditsReply, error) {
	results, err := audit.Results(ctx, s.db)
	reply := &mqv1.ListAuditsReply{}
	for _, r := range results {
		reply.Audits = append(reply.Audits, &mqv1.Audit{
			Service: s.service, Group: r.Group, Topic: r.Topic, Publisher: r.Publisher, CompleteAt: unlessZero(r.CompleteAt), Events: r.Events,
			Resent: r.Resent, ResentAt: unlessZero(r.ResentAt), LastError: text(r.LastError),
		})
	}
	return reply, err
}

func unlessZero(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
