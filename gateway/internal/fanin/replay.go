package fanin

import (
	"context"
	"errors"
	"slices"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	mqv1 "example.com/fourfold/api/mq/v1"
)

// ReplayMessages offers the group to all services. The one that consumes it does the work, and its answer is the answer. The answer is 503 when
// a service that may be the one does not answer, and 404 with the existing groups when none is.
func (c *Conn) ReplayMessages(ctx context.Context, req *mqv1.ReplayMessagesRequest) (*mqv1.ReplayMessagesReply, error) {
	asking, found := context.WithCancel(ctx)
	defer found()
	replies, errs := each(asking, c, workTimes*c.timeout, func(ctx context.Context, p peer) (*mqv1.ReplayMessagesReply, error) {
		reply, err := p.ReplayMessages(ctx, req)
		if answers(err) {
			found() // do not wait for the others
		}
		return reply, err
	})
	for _, of := range []func(error) bool{func(err error) bool { return err == nil }, answers} {
		if i := slices.IndexFunc(errs, of); i >= 0 {
			return replies[i], errs[i]
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var groups, silent []string
	for i, err := range errs {
		if !mqv1.IsGroupNotFound(err) {
			silent = append(silent, c.services[i].name)
		} else if known := kerrors.FromError(err).Metadata["groups"]; known != "" {
			groups = append(groups, strings.Split(known, ", ")...)
		}
	}
	if len(silent) > 0 {
		return nil, tryLater(strings.Join(silent, ", ")+": no answer, and no other service consumes "+req.GetGroup()+
			"; part of the work may be done: call again, which is harmless", errors.Join(errs...))
	}
	slices.Sort(groups)
	names := strings.Join(slices.Compact(groups), ", ")
	return nil, mqv1.ErrorGroupNotFound("group: no service consumes %s; there are %s", req.GetGroup(), names).
		WithMetadata(map[string]string{"groups": names})
}

// answers reports whether err, with which a service answered a replay, is the answer to it: of the one that has the group, or of the first that
// says what is wrong with the request. A service that fails in another way may not have the group.
func answers(err error) bool {
	if err == nil {
		return true
	}
	e := kerrors.FromError(err)
	return e.Reason == "TRY_LATER" || e.Reason != "" && e.Code >= 400 && e.Code < 500 && !mqv1.IsGroupNotFound(err)
}

// ResendMessages asks the service that the request names.
func (c *Conn) ResendMessages(ctx context.Context, req *mqv1.ResendMessagesRequest) (*mqv1.ResendMessagesReply, error) {
	i := slices.IndexFunc(c.services, func(p peer) bool { return p.name == req.GetService() })
	if i < 0 {
		var names []string
		for _, p := range c.services {
			names = append(names, p.name)
		}
		return nil, mqv1.ErrorServiceNotFound("service: there is no %s; there are %s", req.GetService(), strings.Join(names, ", "))
	}
	return from(ctx, c.services[i], workTimes*c.timeout, func(ctx context.Context, p peer) (*mqv1.ResendMessagesReply, error) {
		return p.ResendMessages(ctx, req)
	})
}
