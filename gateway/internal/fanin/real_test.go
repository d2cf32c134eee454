package fanin_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	served "example.com/fourfold/chassis/mq/operators"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// had records what a group did with an event of o1, so many seconds after start.
func had(t *testing.T, db *sql.DB, group, event string, seq int64, state string, second int) {
	t.Helper()
	_, err := db.ExecContext(t.Context(),
		`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, tries, event, created_at)
		VALUES (?, '/order', ?, 'order-events', 'order.paid', 'o1', ?, ?, 3, '{}', ?)`,
		group, event, seq, state, start.Add(time.Duration(second)*time.Second))
	require.NoError(t, err)
}

// TestRealServices tests two services with databases of their own, as they serve Messages.
func TestRealServices(t *testing.T) {
	t.Parallel()
	none := fstest.MapFS{"0001_none.sql": {Data: []byte("-- +goose Up\nSELECT 1;")}}
	order, notify := mysqltest.Open(t, none, mq.Tables()), mysqltest.Open(t, none, mq.Tables())
	real := func(name string, db *sql.DB) *store {
		bus := mq.NewBus(name, mqtest.Away{}, mq.Config{})
		return &store{name: name, real: served.NewServer(name, db, bus, mq.NewOutbox(db, bus, mq.OutboxConfig{}), nil, mq.MinKeep)}
	}
	client := serve(t, patient, real("order", order), real("notify", notify))
	for n := range 3 {
		had(t, order, "g", fmt.Sprint("a", n), 0, "DEAD", 2*n)
		had(t, notify, "g", fmt.Sprint("b", n), 0, "DEAD", 2*n+1)
	}
	want := []string{"order-1", "notify-1", "order-2", "notify-2", "order-3", "notify-3"}
	for _, size := range []int32{0, 1, 2, 5, 6} {
		ids, unreachable := pages(t, client, &mqv1.ListDeadLettersRequest{PageSize: size})
		assert.Equal(t, want, ids)
		assert.Empty(t, unreachable)
	}
	letter, err := client.GetDeadLetter(t.Context(), &mqv1.GetDeadLetterRequest{Id: "notify-2"})
	require.NoError(t, err)
	assert.Equal(t, "b1", letter.GetEventId())
	_, err = client.DiscardDeadLetter(t.Context(), &mqv1.DiscardDeadLetterRequest{Id: "notify-2"})
	require.NoError(t, err)
	_, err = client.RedriveDeadLetter(t.Context(), &mqv1.RedriveDeadLetterRequest{Id: "notify-2"})
	refused(t, err, 404, "DEAD_LETTER_NOT_FOUND")
	sum, err := client.RedriveDeadLetters(t.Context(), &mqv1.RedriveDeadLettersRequest{Group: "g"})
	require.NoError(t, err)
	assert.EqualValues(t, 5, sum.GetRedriven())

	body, err := json.Marshal(mq.Event{ID: "e1", Source: "/order", Type: "order.paid", Subject: "o2", Sequence: 2})
	require.NoError(t, err)
	_, err = order.ExecContext(t.Context(),
		`INSERT INTO mq_outbox (event_id, topic, subject, event, state) VALUES ('e1', 'order-events', 'o2', ?, 'SENT')`, body)
	require.NoError(t, err)
	had(t, notify, "notify-orders", "e1", 2, "DONE", 9)
	trace, err := client.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{EventId: "e1"})
	require.NoError(t, err)
	require.Len(t, trace.GetMessages(), 1)
	m := trace.GetMessages()[0]
	assert.Equal(t, "order SENT 2", fmt.Sprint(m.GetService(), " ", m.GetState(), " ", m.GetSequence()))
	require.Len(t, m.GetConsumptions(), 1)
	assert.Equal(t, "notify notify-orders DONE",
		fmt.Sprint(m.GetConsumptions()[0].GetService(), " ", m.GetConsumptions()[0].GetGroup(), " ", m.GetConsumptions()[0].GetState()))
	_, err = client.TraceMessages(t.Context(), &mqv1.TraceMessagesRequest{})
	refused(t, err, 400, "MESSAGES_INVALID")
}
