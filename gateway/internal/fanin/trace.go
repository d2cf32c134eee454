package fanin

import (
	"cmp"
	"context"
	"slices"
	"time"

	mqv1 "example.com/fourfold/api/mq/v1"
)

// key identifies an event for ever.
type key struct{ source, id string }

// TraceMessages joins what the services know of each event: its publisher's part, and what each group did with it, by time. The events of one
// source and subject are in the order of their numbers, all others in the order of the time they were born, or were first received.
func (c *Conn) TraceMessages(ctx context.Context, req *mqv1.TraceMessagesRequest) (*mqv1.TraceMessagesReply, error) {
	asked := 0
	for _, by := range []string{req.GetOrderId(), req.GetEventId(), req.GetSubject()} {
		if by != "" {
			asked++
		}
	}
	if asked != 1 {
		return nil, mqv1.ErrorMessagesInvalid("order_id, event_id, subject: give one of the three")
	}
	// The services know an order as the subject of its events.
	of := &mqv1.TraceMessagesRequest{EventId: req.GetEventId(), Subject: cmp.Or(req.GetOrderId(), req.GetSubject())}
	replies, unreachable, err := all(ctx, c, func(ctx context.Context, p peer) (*mqv1.TraceMessagesReply, error) {
		return p.TraceMessages(ctx, of)
	})
	if err != nil {
		return nil, err
	}
	known := map[key]*mqv1.Message{}
	for _, r := range replies {
		for _, part := range r.GetMessages() {
			k := key{part.GetSource(), part.GetEventId()}
			whole := known[k]
			switch {
			case whole == nil:
				known[k] = part
			case whole.GetService() == "" && part.GetService() != "": // the publisher knows everything but what other services did with it
				part.Consumptions = append(part.Consumptions, whole.GetConsumptions()...)
				fill(part, whole)
				known[k] = part
			default:
				whole.Consumptions = append(whole.Consumptions, part.GetConsumptions()...)
				fill(whole, part)
			}
		}
	}
	return &mqv1.TraceMessagesReply{Messages: sorted(known), Unreachable: unreachable}, nil
}

// fill sets in m the fields that it lacks: a publisher that keeps only a tombstone of the event has only its id.
func fill(m, from *mqv1.Message) {
	m.Type = cmp.Or(m.GetType(), from.GetType())
	m.Subject = cmp.Or(m.GetSubject(), from.GetSubject())
	m.Sequence = cmp.Or(m.GetSequence(), from.GetSequence())
	m.Generation = cmp.Or(m.GetGeneration(), from.GetGeneration())
	m.Topic = cmp.Or(m.GetTopic(), from.GetTopic())
}

// line is the events of one source about one subject, in one generation.
type line struct{ source, subject, generation string }

func lineOf(m *mqv1.Message) line { return line{m.GetSource(), m.GetSubject(), m.GetGeneration()} }

// sorted returns the messages in TraceMessages' order, and sorts the consumptions of each by time.
func sorted(known map[key]*mqv1.Message) []*mqv1.Message {
	all := make([]*mqv1.Message, 0, len(known))
	for _, m := range known {
		slices.SortFunc(m.GetConsumptions(), func(a, b *mqv1.Consumption) int {
			return cmp.Or(a.GetFirstAt().AsTime().Compare(b.GetFirstAt().AsTime()), cmp.Compare(a.GetService(), b.GetService()),
				cmp.Compare(a.GetGroup(), b.GetGroup()))
		})
		all = append(all, m)
	}
	byNumber := func(a, b *mqv1.Message) int {
		return cmp.Or(cmp.Compare(a.GetSource(), b.GetSource()), cmp.Compare(a.GetSubject(), b.GetSubject()),
			cmp.Compare(a.GetGeneration(), b.GetGeneration()), cmp.Compare(a.GetSequence(), b.GetSequence()),
			begun(a).Compare(begun(b)), cmp.Compare(a.GetEventId(), b.GetEventId()))
	}
	slices.SortFunc(all, byNumber)
	// Within a line no event counts as younger than the next, so sorting by time alone keeps the order of the numbers.
	at, last := map[*mqv1.Message]time.Time{}, map[line]time.Time{}
	for _, m := range all {
		at[m] = begun(m)
		if before := last[lineOf(m)]; m.GetSequence() > 0 && at[m].Before(before) {
			at[m] = before
		}
		if m.GetSequence() > 0 {
			last[lineOf(m)] = at[m]
		}
	}
	slices.SortStableFunc(all, func(a, b *mqv1.Message) int { return at[a].Compare(at[b]) })
	return all
}

// begun returns when m was born, or when it was first received if its birth is not known.
func begun(m *mqv1.Message) time.Time {
	switch c := m.GetConsumptions(); {
	case m.GetBornAt() != nil:
		return m.GetBornAt().AsTime()
	case len(c) > 0:
		return c[0].GetFirstAt().AsTime()
	}
	return time.Time{}
}
