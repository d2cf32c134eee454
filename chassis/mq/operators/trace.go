package operators

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/page"
)

const (
	maxMessages = 200
	// An event has one inbox row for each group of a service.
	maxRows = 5 * maxMessages
)

// TraceMessages joins what the outbox and the inbox know about an event, or about the newest events of a subject. For an event of another
// service it returns only what the groups here did with it.
func (s *Server) TraceMessages(ctx context.Context, req *mqv1.TraceMessagesRequest) (*mqv1.TraceMessagesReply, error) {
	where, value := "", ""
	for _, by := range []struct{ where, value string }{
		{"event_id = ?", req.GetEventId()}, {"subject = ?", req.GetSubject()},
	} {
		if by.value == "" {
			continue
		}
		if where != "" {
			return nil, mqv1.ErrorMessagesInvalid("event_id, subject: give one of the two, not both")
		}
		where, value = by.where, by.value
	}
	if where == "" {
		return nil, mqv1.ErrorMessagesInvalid("event_id, subject: give one of the two")
	}
	t := trace{service: s.service, of: map[key]*mqv1.Message{}}
	if err := t.published(ctx, s.db, where, value); err != nil {
		return nil, err
	}
	if err := t.consumed(ctx, s.db, where, value); err != nil {
		return nil, err
	}
	return &mqv1.TraceMessagesReply{Messages: page.Fit(t.sorted())}, nil
}

// key identifies an event.
type key struct{ source, id string }

type trace struct {
	service string
	of      map[key]*mqv1.Message
	ids     bool // fill in Message.Id
}

// published adds what the outbox knows.
func (t trace) published(ctx context.Context, db *sql.DB, where string, args ...any) error {
	rows, err := db.QueryContext(ctx, `SELECT id, event_id, topic, subject, event, state, created_at, half_at, closed_at, tries, last_error
		FROM mq_outbox WHERE `+where+` ORDER BY id DESC LIMIT ?`, append(args, maxMessages)...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			m            = &mqv1.Message{Service: t.service}
			body         []byte
			born         time.Time
			half, closed sql.NullTime
			e            mq.Event
			id           int64
		)
		if err := rows.Scan(&id, &m.EventId, &m.Topic, &m.Subject, &body, &m.State, &born, &half, &closed, &m.Tries, &m.LastError); err != nil {
			return err
		}
		// A tombstone has no event: all that is known is that it never came.
		if json.Unmarshal(body, &e) == nil {
			m.Source, m.Type, m.Generation, m.Sequence, m.TraceParent = e.Source, e.Type, e.Generation, e.Sequence, e.TraceParent
		} else {
			m.Source = "/" + t.service
		}
		if t.ids {
			m.Id = t.service + "-" + strconv.FormatInt(id, 10)
		}
		m.BornAt, m.HalfAt, m.ClosedAt = timestamppb.New(born), stamp(half), stamp(closed)
		t.of[key{m.GetSource(), m.GetEventId()}] = m
	}
	return rows.Err()
}

// consumed adds what the inbox knows.
func (t trace) consumed(ctx context.Context, db *sql.DB, where, value string) error {
	rows, err := db.QueryContext(ctx, `SELECT event_id, source, type, subject, generation, seq, topic, grp, state, tries, waits, created_at, next_at,
		closed_at, last_error, COALESCE(history, '') FROM mq_inbox WHERE `+where+` ORDER BY id DESC LIMIT ?`, value, maxRows)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			m            mqv1.Message
			c            = &mqv1.Consumption{Service: t.service}
			first        time.Time
			next, closed sql.NullTime
			history      string
		)
		if err := rows.Scan(&m.EventId, &m.Source, &m.Type, &m.Subject, &m.Generation, &m.Sequence, &m.Topic, &c.Group, &c.State, &c.Tries,
			&c.Waits, &first, &next, &closed, &c.LastError, &history); err != nil {
			return err
		}
		c.FirstAt, c.NextAt, c.ClosedAt, c.History = timestamppb.New(first), stamp(next), stamp(closed), lines(history)
		c.LastError = text(c.GetLastError())
		k := key{m.GetSource(), m.GetEventId()}
		if t.of[k] == nil {
			t.of[k] = &m
		}
		t.of[k].Consumptions = append(t.of[k].Consumptions, c)
	}
	return rows.Err()
}

// sorted returns the newest messages, oldest first, with the groups of each by time.
func (t trace) sorted() []*mqv1.Message {
	all := make([]*mqv1.Message, 0, len(t.of))
	for _, m := range t.of {
		slices.SortFunc(m.GetConsumptions(), func(a, b *mqv1.Consumption) int {
			return cmp.Or(a.GetFirstAt().AsTime().Compare(b.GetFirstAt().AsTime()), cmp.Compare(a.GetGroup(), b.GetGroup()))
		})
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *mqv1.Message) int {
		return cmp.Or(begun(a).Compare(begun(b)), cmp.Compare(a.GetSequence(), b.GetSequence()), cmp.Compare(a.GetEventId(), b.GetEventId()))
	})
	return all[max(0, len(all)-maxMessages):]
}

// begun returns when m was published, or first came here.
func begun(m *mqv1.Message) time.Time {
	if m.GetBornAt() != nil {
		return m.GetBornAt().AsTime()
	}
	return m.GetConsumptions()[0].GetFirstAt().AsTime()
}

func stamp(t sql.NullTime) *timestamppb.Timestamp {
	if !t.Valid {
		return nil
	}
	return timestamppb.New(t.Time)
}
