package audit

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq"
)

const (
	// disturbed is how long after an outage of the broker what is missing may still lie there.
	disturbed = 2 * time.Minute
	// soon is how long an event waits for those in front of it until they are asked for while the broker is away, and late at other times.
	soon, late = 400 * time.Millisecond, 10 * time.Second
	// justSent is how long an event that was sent is on its way.
	justSent = time.Second
)

// AskForGaps has publishers send again what strictly ordered groups of this process miss, until ctx ends: event n of a subject may lie in a
// broker that is away, while n+1 came another way. Several processes may run it.
func (a *Auditor) AskForGaps(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		waited, pause := late, late/4
		if a.bus.Undisturbed() < disturbed {
			waited, pause = soon, soon/2
		}
		if err := a.askForGaps(ctx, waited); err != nil && ctx.Err() == nil {
			if failures++; failures == 1 {
				slog.WarnContext(ctx, "ask for missing events", "err", err)
			}
			pause = backoff.Pause(failures, pause, 5*time.Second)
		} else {
			failures = 0
		}
		backoff.Sleep(ctx, pause)
	}
	return nil
}

func (a *Auditor) askForGaps(ctx context.Context, waited time.Duration) (failed error) {
	for _, c := range a.bus.Consumed() {
		if c.Order != mq.Strict {
			continue
		}
		gaps, err := mq.Gaps(ctx, a.db, c.Group, waited)
		failed = errors.Join(failed, err)
		away := map[string]bool{} // publishers that did not answer: the others' turn
		for _, g := range gaps {
			if publisher := publisherOf(g.Source); !away[publisher] {
				err := a.ask(ctx, c.Subscription, publisher, g)
				away[publisher] = err != nil
				failed = errors.Join(failed, err)
			}
		}
	}
	return failed
}

// publisherOf returns the name of the service whose events have that source.
func publisherOf(source string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(source, "/"), "/")
	return name
}

// ask has the publisher called name send again what is missing.
func (a *Auditor) ask(ctx context.Context, of mq.Subscription, name string, g mq.Gap) error {
	publisher := a.publishers[name]
	if publisher == nil {
		return nil // not one that this service knows: it waits, and operators are told
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req := &mqv1.SendNumbersRequest{CallId: uuid.NewString(), Topic: of.Topic, Source: g.Source, Subject: g.Subject, Generation: g.Generation,
		First: g.First, Last: g.Last}
	reply, err := publisher.SendNumbers(a.keys.Call(ctx, mqv1.Sent_SendNumbers_FullMethodName, req), req)
	if err == nil && reply.GetEvents() > 0 {
		slog.InfoContext(ctx, "missing events are sent again", "group", of.Group, "subject", g.Subject, "from", g.First, "to", g.Last,
			"events", reply.GetEvents())
	}
	return err
}
