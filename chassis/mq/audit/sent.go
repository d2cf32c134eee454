package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
)

// Server serves a publisher's books of what it has sent to callers that hold a key of the events. All others get 403.
type Server struct {
	mqv1.UnimplementedSentServer
	keys   mac.Keys
	db     *sql.DB
	outbox *mq.Outbox
}

// NewServer returns a server of what outbox, whose tables are in db, has sent.
func NewServer(keys mac.Keys, db *sql.DB, outbox *mq.Outbox) *Server {
	return &Server{keys: keys, db: db, outbox: outbox}
}

const (
	mostIDs = 1000
	// mostBehind is how long an event that is the first of its subject may wait to be sent: a publisher that is further behind has no broker
	// now.
	mostBehind = "10 SECOND"
)

// SumSent returns the sums of the events that are wanted.
func (s *Server) SumSent(ctx context.Context, req *mqv1.SumSentRequest) (*mqv1.SumSentReply, error) {
	if err := s.keys.CheckCall(ctx, mqv1.Sent_SumSent_FullMethodName, req); err != nil {
		return nil, err
	}
	w := wanted{req.GetWanted()}
	var (
		all sums
		err error
	)
	if w.GetFilter() == "" {
		where, args := w.where()
		all, err = sumsOf(ctx, s.db, "mq_outbox FORCE INDEX (event_id)", where, args...)
	} else {
		all, err = w.filtered(ctx, s.db)
	}
	if err != nil {
		return nil, err
	}
	reply := &mqv1.SumSentReply{}
	for window, sum := range all {
		reply.Sums = append(reply.Sums, &mqv1.Sum{Prefix: window, Count: sum.count, Hash: sum.hash})
	}
	slices.SortFunc(reply.GetSums(), func(a, b *mqv1.Sum) int { return cmp.Compare(a.GetPrefix(), b.GetPrefix()) })
	return reply, nil
}

// ListSent returns a page of the ids of a window.
func (s *Server) ListSent(ctx context.Context, req *mqv1.ListSentRequest) (*mqv1.ListSentReply, error) {
	if err := s.keys.CheckCall(ctx, mqv1.Sent_ListSent_FullMethodName, req); err != nil {
		return nil, err
	}
	w := wanted{req.GetWanted()}
	where, args := w.where()
	rows, err := s.db.QueryContext(ctx, `SELECT event_id, event FROM mq_outbox FORCE INDEX (event_id) WHERE `+where+`
		AND event_id > ? AND LEFT(event_id, ?) = ? ORDER BY event_id LIMIT ?`,
		append(args, req.GetAfter(), len(req.GetPrefix()), req.GetPrefix(), mostIDs+1)...)
	if err != nil {
		return nil, err
	}
	reply := &mqv1.ListSentReply{}
	n, last := 0, ""
	err = w.each(rows, func(id string, selected bool) {
		if n++; n > mostIDs {
			reply.More = true
			return
		}
		if last = id; selected {
			reply.Ids = append(reply.Ids, id)
		}
	})
	if reply.GetMore() {
		reply.Next = last
	}
	return reply, err
}

// SendAgain makes the relay send events once more. It answers 503 while the broker takes nothing, so that an outage does not look like a loss.
func (s *Server) SendAgain(ctx context.Context, req *mqv1.SendAgainRequest) (*mqv1.SendAgainReply, error) {
	if err := s.keys.CheckCall(ctx, mqv1.Sent_SendAgain_FullMethodName, req); err != nil {
		return nil, err
	}
	in, args := database.In(req.GetIds())
	behind, err := database.IDs(ctx, s.db, `SELECT o.id FROM mq_outbox o WHERE o.state = 'READY' AND o.refused_at IS NULL AND o.deliver_at IS NULL
		AND o.next_at < NOW(3) - INTERVAL `+mostBehind+` AND (o.subject = '' OR NOT EXISTS (SELECT 1 FROM mq_outbox p
			WHERE p.state = 'READY' AND p.topic = o.topic AND p.subject = o.subject AND p.id < o.id))
		AND o.topic IN (SELECT topic FROM mq_outbox WHERE event_id IN (`+in+`)) LIMIT 1`, args...)
	if err == nil && len(behind) > 0 {
		err = kerrors.ServiceUnavailable("TRY_LATER", "the broker takes no events now")
	}
	if err != nil {
		return nil, err
	}
	n, err := s.outbox.SendAgain(ctx, req.GetIds(), req.GetSettled().AsDuration())
	return &mqv1.SendAgainReply{Events: n}, err
}

// SendNumbers makes the relay send events of a subject once more, whatever the broker does: a group misses them.
func (s *Server) SendNumbers(ctx context.Context, req *mqv1.SendNumbersRequest) (*mqv1.SendAgainReply, error) {
	if err := s.keys.CheckCall(ctx, mqv1.Sent_SendNumbers_FullMethodName, req); err != nil {
		return nil, err
	}
	gap := mq.Gap{Source: req.GetSource(), Subject: req.GetSubject(), Generation: req.GetGeneration(),
		First: req.GetFirst(), Last: req.GetLast()}
	n, err := s.outbox.SendNumbers(ctx, req.GetTopic(), gap, justSent)
	if errors.Is(err, mq.ErrRefused) {
		err = kerrors.BadRequest("INVALID", err.Error())
	}
	return &mqv1.SendAgainReply{Events: n}, err
}

// wanted are the sent events that a group wants.
type wanted struct{ *mqv1.Wanted }

// where returns the condition for them, but for the filter.
func (w wanted) where() (string, []any) {
	settled := w.GetSettled().AsDuration().Microseconds()
	// What is being sent again counts until it has come: it is not here because it is on its way once more.
	where := `(state = 'SENT' AND closed_at <= TIMESTAMPADD(MICROSECOND, -?, NOW(3)) OR state IN ('SENT', 'READY') AND resent_at IS NOT NULL)
		AND topic = ? AND event_id >= ? AND (? = '' OR event_id < ?)
		AND (deliver_at IS NULL OR deliver_at <= TIMESTAMPADD(MICROSECOND, -?, NOW(3)))`
	args := []any{settled, w.GetTopic(), w.GetFrom(), w.GetTo(), w.GetTo(), settled}
	if len(w.GetTypes()) > 0 {
		in, types := database.In(w.GetTypes())
		where, args = where+" AND type IN ("+in+")", append(args, types...)
	}
	return where, args
}

// filtered adds up the events that the filter selects, which only reading them tells.
func (w wanted) filtered(ctx context.Context, db *sql.DB) (sums, error) {
	where, args := w.where()
	rows, err := db.QueryContext(ctx, "SELECT event_id, event FROM mq_outbox FORCE INDEX (event_id) WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	all := sums{}
	return all, w.each(rows, func(id string, selected bool) {
		if !selected {
			return
		}
		hash := sha256.Sum256([]byte(id))
		window := id[:min(len(id), windowDigits)]
		s := all[window]
		all[window] = sum{s.count + 1, s.hash ^ binary.BigEndian.Uint64(hash[:])}
	})
}

// each calls f for each row of ids and events, with whether the filter selects the event, and closes rows.
func (w wanted) each(rows *sql.Rows, f func(id string, selected bool)) error {
	defer func() { _ = rows.Close() }()
	subscription := mq.Subscription{Filter: w.GetFilter()}
	for rows.Next() {
		var (
			id   string
			text []byte
			e    mq.Event
		)
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		selected := true
		if w.GetFilter() != "" {
			if err := json.Unmarshal(text, &e); err != nil {
				continue // it was never sent as an event
			}
			var err error
			if selected, err = subscription.Wants(e); err != nil {
				return kerrors.BadRequest("MESSAGES_INVALID", "filter: "+err.Error())
			}
		}
		f(id, selected)
	}
	return rows.Err()
}

// Local returns a client of s in the same process.
func (s *Server) Local() mqv1.SentClient { return local{s} }

type local struct{ s *Server }

func (l local) SumSent(ctx context.Context, req *mqv1.SumSentRequest, _ ...grpc.CallOption) (*mqv1.SumSentReply, error) {
	return l.s.SumSent(arrived(ctx), req)
}

func (l local) ListSent(ctx context.Context, req *mqv1.ListSentRequest, _ ...grpc.CallOption) (*mqv1.ListSentReply, error) {
	return l.s.ListSent(arrived(ctx), req)
}

func (l local) SendAgain(ctx context.Context, req *mqv1.SendAgainRequest, _ ...grpc.CallOption) (*mqv1.SendAgainReply, error) {
	return l.s.SendAgain(arrived(ctx), req)
}

func (l local) SendNumbers(ctx context.Context, req *mqv1.SendNumbersRequest, _ ...grpc.CallOption) (*mqv1.SendAgainReply, error) {
	return l.s.SendNumbers(arrived(ctx), req)
}

// arrived returns the context of a call that arrives as it was sent.
func arrived(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewIncomingContext(ctx, md)
}
