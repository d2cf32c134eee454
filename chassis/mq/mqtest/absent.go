package mqtest

import (
	"database/sql"
	"testing"

	"example.com/fourfold/chassis/mq"
)

// Absent gives service's outbox over db with a broker that is not there: what is appended stays in its table. Tests that only look at
// what a service writes need no broker.
func Absent(t testing.TB, db *sql.DB, service string) *mq.Outbox {
	t.Helper()
	b, err := mq.Dial(mq.Config{NameServers: "127.0.0.1:1", Service: service})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return mq.NewOutbox(db, b, mq.OutboxConfig{})
}
