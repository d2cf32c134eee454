package fanin

import (
	"context"
	"errors"
	"strings"

	mqv1 "example.com/fourfold/api/mq/v1"
)

// GetMode asks all services, as there is one switch for all, and takes the first answer of one that Redis answers. When Redis answers none,
// it is the latest that any of them knows.
func (c *Conn) GetMode(ctx context.Context, req *mqv1.GetModeRequest) (*mqv1.ModeReply, error) {
	asking, found := context.WithCancel(ctx)
	defer found()
	replies, errs := each(asking, c, c.timeout, func(ctx context.Context, p peer) (*mqv1.ModeReply, error) {
		reply, err := p.GetMode(ctx, req)
		if err == nil && reply.GetRedisAnswered() {
			found() // do not wait for the others
		}
		return reply, err
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var best *mqv1.ModeReply
	for i, err := range errs {
		switch r := replies[i]; {
		case err != nil && concernsCall(err):
			return nil, err
		case err != nil:
		case best == nil, r.GetRedisAnswered() && !best.GetRedisAnswered(),
			r.GetRedisAnswered() == best.GetRedisAnswered() && r.GetAsOf().AsTime().After(best.GetAsOf().AsTime()):
			best = r
		}
	}
	if best == nil {
		return nil, tryLater("no service answers: try again", errors.Join(errs...))
	}
	return best, nil
}

// ForceMode asks one service after another until one has moved the switch, so that it is moved once. The answer is 503 when none could.
func (c *Conn) ForceMode(ctx context.Context, req *mqv1.ForceModeRequest) (*mqv1.ModeReply, error) {
	var (
		failed []error
		said   []string
	)
	for _, p := range c.services {
		reply, err := from(ctx, p, c.timeout, func(ctx context.Context, p peer) (*mqv1.ModeReply, error) { return p.ForceMode(ctx, req) })
		switch {
		case err == nil, concernsCall(err):
			return reply, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		failed = append(failed, err)
		said = append(said, p.name)
	}
	return nil, tryLater("none of "+strings.Join(said, ", ")+" could move the switch, which is in Redis: try again, which is harmless",
		errors.Join(failed...))
}
