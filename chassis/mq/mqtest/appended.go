package mqtest

import (
	"database/sql"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	"example.com/fourfold/chassis/mq"
)

// Appended is an event in an outbox, with its data.
type Appended[M any] struct {
	mq.Event
	Data *M
}

// Outbox returns what was appended to the outbox in db for topic, in the order in which it is sent, whether it is sent already or not: events
// whose data is an M. It fails the test when an event cannot be read, or its row and the event differ in id or subject.
func Outbox[M any, P interface {
	*M
	proto.Message
}](t testing.TB, db *sql.DB, topic string) (all []Appended[M]) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT event_id, subject, event FROM mq_outbox WHERE topic = ? ORDER BY id", topic)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			id, subject string
			text        []byte
			a           = Appended[M]{Data: new(M)}
		)
		if err := rows.Scan(&id, &subject, &text); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &a.Event); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if err := a.Read(P(a.Data)); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if a.ID != id || a.Subject != subject {
			t.Fatalf("the row of %s about %q holds %s", id, subject, text)
		}
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
