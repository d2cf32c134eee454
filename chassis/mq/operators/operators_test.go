package operators_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/operators"
	"example.com/fourfold/chassis/page"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// open returns notify's database and server, without a broker.
func open(t *testing.T) (*sql.DB, *operators.Server) {
	db := tables(t)
	bus := mq.NewBus("notify", mqtest.Away{}, mq.Config{})
	return db, operators.NewServer("notify", db, bus, mq.NewOutbox(db, bus, mq.OutboxConfig{}), nil, mq.MinKeep)
}

func tables(t *testing.T) *sql.DB {
	return mysqltest.Open(t, fstest.MapFS{"0001_none.sql": {Data: []byte("-- +goose Up\nSELECT 1;")}}, mq.Tables())
}

// dead inserts a dead letter.
func dead(t *testing.T, db *sql.DB, group, id, typ string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(),
		`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, tries, event, last_error, history)
		VALUES (?, '/member', ?, 'member-events', ?, 'm-1', 3, 'DEAD', 10, ?, 'no such address', 'try 9: no such address\ntry 10: no such address\n')`,
		group, id, typ, "{\"id\":\"x\xff\"}")
	require.NoError(t, err)
}

// TestDeadLetters: dead letters are listed by pages, read, redriven and discarded; an unknown id is refused as such.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	db, s := open(t)
	for n := range 5 {
		dead(t, db, []string{"notify-sms", "notify-email"}[n%2], fmt.Sprint(n), "member.registered")
	}
	dead(t, db, "notify-sms", "5", "?")
	for group, want := range map[string]string{"": "0 1 2 3 4 5", "notify-sms": "0 2 4 5", "notify-email": "1 3", "nobody": ""} {
		for _, size := range []int32{0, 1, 2, 3, 6, 100} {
			var got []string
			for token := ""; ; {
				reply, err := s.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{Group: group, PageSize: size, PageToken: token})
				require.NoError(t, err)
				for _, l := range reply.GetDeadLetters() {
					got = append(got, l.GetEventId())
				}
				if token = reply.GetNextPageToken(); token == "" {
					break
				}
				require.Less(t, len(got), 10)
			}
			assert.Equal(t, want, strings.Join(got, " "), "group %q by %d", group, size)
		}
	}

	l, err := s.GetDeadLetter(t.Context(), &mqv1.GetDeadLetterRequest{Id: "notify-2"})
	require.NoError(t, err)
	assert.Equal(t, "notify-2 notify notify-email member-events 1 /member member.registered m-1 3 10 no such address",
		fmt.Sprint(l.GetId(), " ", l.GetService(), " ", l.GetGroup(), " ", l.GetTopic(), " ", l.GetEventId(), " ", l.GetSource(), " ",
			l.GetType(), " ", l.GetSubject(), " ", l.GetSequence(), " ", l.GetTries(), " ", l.GetReason()))
	assert.Equal(t, []string{"try 9: no such address", "try 10: no such address"}, l.GetHistory())
	assert.Equal(t, "{\"id\":\"x\uFFFD\"}", l.GetEvent())

	reply, err := s.RedriveDeadLetter(t.Context(), &mqv1.RedriveDeadLetterRequest{Id: "notify-1"})
	require.NoError(t, err)
	assert.EqualValues(t, 1, reply.GetRedriven())
	reply, err = s.RedriveDeadLetters(t.Context(), &mqv1.RedriveDeadLettersRequest{Group: "notify-email"})
	require.NoError(t, err)
	assert.EqualValues(t, 2, reply.GetRedriven())
	_, err = s.DiscardDeadLetter(t.Context(), &mqv1.DiscardDeadLetterRequest{Id: "notify-3"})
	require.NoError(t, err)
	assert.Equal(t, "1 WAITING 0\n2 WAITING 0\n3 DROPPED 10\n4 WAITING 0\n5 DEAD 10\n6 DEAD 10\n--\n",
		mysqltest.Dump(t, db, "SELECT id, state, tries FROM mq_inbox ORDER BY id"))

	_, err = s.RedriveDeadLetter(t.Context(), &mqv1.RedriveDeadLetterRequest{Id: "notify-6"})
	assert.True(t, mqv1.IsDeadLetterUnreadable(err), "%v", err)
	for _, id := range []string{"notify-1", "notify-3", "notify-7", "order-5", "notify", "notify-", "notify-05", "notify- 5", "notify-5x", "5",
		"notify-99999999999999999999", "notify--5"} {
		_, get := s.GetDeadLetter(t.Context(), &mqv1.GetDeadLetterRequest{Id: id})
		_, redrive := s.RedriveDeadLetter(t.Context(), &mqv1.RedriveDeadLetterRequest{Id: id})
		_, discard := s.DiscardDeadLetter(t.Context(), &mqv1.DiscardDeadLetterRequest{Id: id})
		for _, err := range []error{get, redrive, discard} {
			assert.True(t, mqv1.IsDeadLetterNotFound(err), "%s: %v", id, err)
		}
	}
	for _, token := range []string{"x", "1", page.DeadLetters("notify", "").Token("0"), page.DeadLetters("order", "").Token("1")} {
		_, err := s.ListDeadLetters(t.Context(), &mqv1.ListDeadLettersRequest{PageToken: token})
		assert.True(t, mqv1.IsMessagesInvalid(err), "%s: %v", token, err)
		assert.Equal(t, 400, kerrors.Code(err))
	}
	_, err = s.RedriveDeadLetters(t.Context(), &mqv1.RedriveDeadLettersRequest{})
	assert.True(t, mqv1.IsMessagesInvalid(err), "%v", err)
}

// TestTrace: the trace shows the way of an event, and of all events of a subject; those of other services with what the groups here did.
func TestTrace(t *testing.T) {
	t.Parallel()
	db, s := open(t)
	exec := func(stmt string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), stmt, args...)
		require.NoError(t, err)
	}
	text, err := json.Marshal(mq.Event{ID: "e1", Source: "/notify", Type: "order.paid", Subject: "o-1", Sequence: 2, TraceParent: "00-aa-bb-01"})
	require.NoError(t, err)
	exec(`INSERT INTO mq_outbox (event_id, topic, subject, event, state, created_at, half_at, closed_at, tries, last_error) VALUES
		('e1', 'order-events', 'o-1', ?, 'SENT', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678', '2026-01-02 03:04:06', 1, 'away'),
		('e2', 'order-events', 'o-2', '{}', 'READY', NOW(3), NULL, NULL, 0, ''),
		('e0', 'order-events', '', '', 'VOID', NOW(3), NULL, NOW(3), 0, '')`, text)
	exec(`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, tries, waits, created_at, next_at, closed_at, last_error, history) VALUES
		('late',  '/notify', 'e1', 'order-events', 'order.paid', 'o-1', 2, 'WAITING', 3, 1, '2026-01-02 03:05:00', '2026-01-02 03:06:00', NULL, 'no', 'a\nb\n'),
		('early', '/notify', 'e1', 'order-events', 'order.paid', 'o-1', 2, 'DONE', 0, 0, '2026-01-02 03:04:07', NULL, '2026-01-02 03:04:07', '', NULL),
		('early', '/order',  'e1', 'order-events', 'order.created', 'o-1', 1, 'OLD', 0, 0, '2026-01-02 03:04:00', NULL, '2026-01-02 03:04:00', '', NULL),
		('early', '/order',  'e9', 'order-events', 'order.paid', 'o-9', 1, 'DONE', 0, 0, NOW(3), NULL, NOW(3), '', NULL)`)

	reply, err := s.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{Subject: "o-1"})
	require.NoError(t, err)
	require.Len(t, reply.GetMessages(), 2)
	foreign, own := reply.GetMessages()[0], reply.GetMessages()[1]
	assert.Equal(t, []any{"e1", "/order", "order.created", "o-1", int64(1), "", "", 1},
		[]any{foreign.GetEventId(), foreign.GetSource(), foreign.GetType(), foreign.GetSubject(), foreign.GetSequence(),
			foreign.GetService(), foreign.GetState(), len(foreign.GetConsumptions())})
	assert.Nil(t, foreign.GetBornAt())
	assert.Equal(t, []any{"e1", "/notify", "order.paid", "o-1", int64(2), "notify", "SENT", int32(1), "away", "00-aa-bb-01", "order-events"},
		[]any{own.GetEventId(), own.GetSource(), own.GetType(), own.GetSubject(), own.GetSequence(), own.GetService(), own.GetState(),
			own.GetTries(), own.GetLastError(), own.GetTraceParent(), own.GetTopic()})
	assert.Equal(t, "2026-01-02 03:04:05.678 +0000 UTC", own.GetBornAt().AsTime().String())
	assert.Equal(t, own.GetBornAt().AsTime(), own.GetHalfAt().AsTime())
	require.Len(t, own.GetConsumptions(), 2)
	assert.Equal(t, "early DONE", own.GetConsumptions()[0].GetGroup()+" "+own.GetConsumptions()[0].GetState())
	late := own.GetConsumptions()[1]
	assert.Equal(t, []any{"notify", "late", "WAITING", int32(3), int32(1), "no", []string{"a", "b"}},
		[]any{late.GetService(), late.GetGroup(), late.GetState(), late.GetTries(), late.GetWaits(), late.GetLastError(), late.GetHistory()})
	assert.Nil(t, late.GetClosedAt())

	for _, c := range []struct {
		req  *mqv1.TraceMessagesRequest
		want string
	}{
		{&mqv1.TraceMessagesRequest{EventId: "e1"}, "/order e1 /notify e1"}, {&mqv1.TraceMessagesRequest{EventId: "e9"}, "/order e9"},
		{&mqv1.TraceMessagesRequest{EventId: "e0"}, "/notify e0"}, {&mqv1.TraceMessagesRequest{Subject: "o-1"}, "/order e1 /notify e1"},
		{&mqv1.TraceMessagesRequest{Subject: "nobody"}, ""},
	} {
		reply, err := s.TraceMessages(t.Context(), c.req)
		require.NoError(t, err)
		var got []string
		for _, m := range reply.GetMessages() {
			got = append(got, m.GetSource()+" "+m.GetEventId())
		}
		assert.Equal(t, c.want, strings.Join(got, " "), "%v", c.req)
	}
	for _, req := range []*mqv1.TraceMessagesRequest{{}, {EventId: "e", Subject: "o"}} {
		_, err := s.TraceMessages(t.Context(), req)
		assert.True(t, mqv1.IsMessagesInvalid(err), "%v: %v", req, err)
	}
}

// TestTraceBounded: of a subject with very many events the newest 200 are returned.
func TestTraceBounded(t *testing.T) {
	t.Parallel()
	db, s := open(t)
	for n := range 10 {
		values := make([]string, 0, 100)
		for i := range 100 {
			values = append(values, fmt.Sprintf("('e%d', 't', 'sku', '{}', 'SENT', '2026-01-01' + INTERVAL %[1]d SECOND, NOW(3))", 100*n+i))
		}
		_, err := db.ExecContext(t.Context(),
			"INSERT INTO mq_outbox (event_id, topic, subject, event, state, created_at, closed_at) VALUES "+strings.Join(values, ","))
		require.NoError(t, err)
	}
	reply, err := s.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{Subject: "sku"})
	require.NoError(t, err)
	require.Len(t, reply.GetMessages(), 200)
	assert.Equal(t, "e800", reply.GetMessages()[0].GetEventId())
	assert.Equal(t, "e999", reply.GetMessages()[199].GetEventId())
}

// TestLongTrace: of events that failed for long only the newest are returned, as many as a message of gRPC has room for.
func TestLongTrace(t *testing.T) {
	t.Parallel()
	db, s := open(t)
	for i := range 200 {
		_, err := db.ExecContext(t.Context(), `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, last_error, history)
			VALUES ('g', '/order', ?, 't', 'x', 'o-1', ?, 'DEAD', ?, ?)`, fmt.Sprintf("e%03d", i), i+1, strings.Repeat("错", 2000), strings.Repeat("误", 8000))
		require.NoError(t, err)
	}
	reply, err := s.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{Subject: "o-1"})
	require.NoError(t, err)
	assert.Less(t, proto.Size(reply), page.MaxBytes+1000)
	n := len(reply.GetMessages())
	require.Greater(t, n, 20)
	assert.Equal(t, "e199", reply.GetMessages()[n-1].GetEventId())
}

// TestLongLetter: of a message that is no event, and as long as the broker takes any, the beginning is shown.
func TestLongLetter(t *testing.T) {
	t.Parallel()
	db, s := open(t)
	row, err := db.ExecContext(t.Context(), `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, event)
		VALUES ('g', '', 'e', 't', '?', '', 0, 'DEAD', ?)`, bytes.Repeat([]byte("\xff "), 2<<20))
	require.NoError(t, err)
	id, err := row.LastInsertId()
	require.NoError(t, err)
	letter, err := s.GetDeadLetter(t.Context(), &mqv1.GetDeadLetterRequest{Id: fmt.Sprint("notify-", id)})
	require.NoError(t, err)
	assert.Less(t, proto.Size(letter), 4<<20)
	assert.Greater(t, proto.Size(letter), page.MaxBytes)
}
