// Package mqlaws holds the laws of a transport: whatever is delivered twice, late or not at all, and whichever process fails, each event that
// was committed has its effect once in each group, one that was rolled back has none, and the effects of a subject never go backwards. Every
// transport runs the whole suite on a real database.
package mqlaws

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
)

// Run checks every law, each with a database of its own, on what open returns: a new transport and a topic that nobody else uses.
func Run(t *testing.T, open func(t *testing.T) (transport mq.Transport, topic string)) {
	for name, law := range map[string]func(*testing.T, *world){
		"CommittedOnce":         committedOnce,
		"RolledBackNever":       rolledBackNever,
		"Twice":                 twice,
		"TwiceAndOutOfOrder":    twiceAndOutOfOrder,
		"NewestOnly":            newestOnly,
		"PoisonInFront":         poisonInFront,
		"PoisonHoldsItsSubject": poisonHoldsItsSubject,
		"PanicAndHang":          panicAndHang,
		"EffectRolledBack":      effectRolledBack,
		"NotYetIsNoFailure":     notYetIsNoFailure,
		"FilterByType":          filterByType,
		"FilterBySQL":           filterBySQL,
		"DrainCutsNoHandler":    drainCutsNoHandler,
		"TwoGroups":             twoGroups,
		"NotBefore":             notBefore,
		"TailTellsAll":          tailTellsAll,
		"ReplayByParts":         replayByParts,
		"Forged":                forged,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transport, topic := open(t)
			law(t, newWorld(t, transport, topic))
		})
	}
}

// world is a transport, a database with a table of effects, and a relay that runs.
type world struct {
	topic     string
	transport mq.Transport
	db        *sql.DB
	bus       *mq.Bus
	outbox    *mq.Outbox
}

// Migrations make a table of effects, which can hold any number of them for one event.
var Migrations = fstest.MapFS{"0001_effect.sql": {Data: []byte(`-- +goose Up
CREATE TABLE effect (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, grp VARBINARY(64) NOT NULL, event_id VARBINARY(64) NOT NULL,
  subject VARBINARY(128) NOT NULL, seq BIGINT NOT NULL, at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), KEY (event_id));`)}}

func newWorld(t *testing.T, transport mq.Transport, topic string) *world {
	w := &world{topic: topic, transport: transport, db: mysqltest.Open(t, Migrations, mq.Tables())}
	w.bus = mq.NewBus("laws", transport, mq.Config{})
	w.outbox = mq.NewOutbox(w.db, w.bus, mq.OutboxConfig{Poll: 100 * time.Millisecond})
	background(t, w.outbox.Relay)
	return w
}

// deliver sends e without the outbox.
func (w *world) deliver(t *testing.T, e mq.Event) {
	t.Helper()
	require.NoError(t, w.transport.Send(t.Context(), w.topic, e, time.Time{}))
}

// background runs work until the test ends or stop is called, and waits for its end.
func background(t *testing.T, work func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				assert.NoError(t, err)
			case <-time.After(60 * time.Second):
				t.Error("background work does not end")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// subscription returns a subscription with short pauses.
func (w *world) subscription(group string, order mq.Order) mq.Subscription {
	return mq.Subscription{Group: group + "-" + w.topic, Topic: w.topic, Order: order, Tries: 3,
		FirstPause: 20 * time.Millisecond, LongestPause: 100 * time.Millisecond, Poll: 50 * time.Millisecond}
}

// consume runs a consumer until the test ends or stop is called.
func (w *world) consume(t *testing.T, s mq.Subscription, h mq.Handler) (stop func()) {
	return background(t, func(ctx context.Context) error { return w.bus.Consume(ctx, w.db, s, h) })
}

// Effect returns a handler whose effect is a row.
func Effect(group string) mq.Handler {
	return func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO effect (grp, event_id, subject, seq) VALUES (?, ?, ?, ?)", group, e.ID, e.Subject, e.Sequence)
		return err
	}
}

// New returns a new event.
func New(subject string, sequence int64) mq.Event {
	return mq.Event{ID: mq.NewID(), Source: "/laws", Type: "thing.happened", Subject: subject, Sequence: sequence, Time: time.Now(),
		Data: []byte(fmt.Sprintf(`{"sequence":%d}`, sequence))}
}

// appended commits events through the outbox, each in a transaction of its own.
func (w *world) appended(t *testing.T, events ...mq.Event) {
	t.Helper()
	for _, e := range events {
		require.NoError(t, database.InTx(t.Context(), w.db, func(tx *sql.Tx) error { return w.outbox.Append(t.Context(), tx, w.topic, e) }))
	}
}

const patience = 90 * time.Second

// awaitEffects waits until there are n effects.
func (w *world) awaitEffects(t *testing.T, n int) {
	t.Helper()
	AwaitCount(t, w.db, n, "SELECT COUNT(*) FROM effect")
}

// AwaitCount waits until query returns n.
func AwaitCount(t testing.TB, db *sql.DB, n int, query string) {
	t.Helper()
	got := -1
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err == nil && got >= n {
			break
		}
	}
	if !assert.Equal(t, n, got, query) {
		t.Log(mysqltest.Dump(t, db, "SELECT grp, subject, seq, state, tries, waits, next_at, last_error FROM mq_inbox LIMIT 50",
			"SELECT topic, subject, state, tries, next_at, last_error FROM mq_outbox WHERE state <> 'SENT' LIMIT 50"))
		t.FailNow()
	}
}

// Settled checks what must hold at the end: one effect for each event that was committed, in the order of their numbers, and nothing open in
// outbox and inbox.
func Settled(t testing.TB, db *sql.DB) {
	t.Helper()
	const open = "SELECT (SELECT COUNT(*) FROM mq_outbox WHERE state IN ('READY', 'HALF')) + (SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING')"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if mysqltest.Dump(t, db, open) == "0\n--\n" {
			break
		}
	}
	assert.Equal(t, "--\n--\n--\n--\n", mysqltest.Dump(t, db,
		"SELECT 'twice', grp, event_id, COUNT(*) FROM effect GROUP BY grp, event_id HAVING COUNT(*) > 1",
		"SELECT 'backwards', a.grp, a.subject, a.seq, b.seq FROM effect a JOIN effect b ON a.grp = b.grp AND a.subject = b.subject AND a.id < b.id WHERE a.seq > b.seq AND b.seq > 0",
		"SELECT 'open outbox', id, state FROM mq_outbox WHERE state IN ('READY', 'HALF')",
		"SELECT 'open inbox', grp, subject, seq, state FROM mq_inbox WHERE state = 'WAITING'"))
}
