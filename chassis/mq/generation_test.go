package mq_test

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// publisher is a service whose things count their changes, in a database of its own.
type publisher struct {
	stage
	dsn    string
	outbox *mq.Outbox
	stop   func()
}

var things = mq.Numbered{Table: "thing", Number: "changes", Base: "changes_base"}

func newPublisher(t *testing.T, s stage) *publisher {
	p := &publisher{stage: s, dsn: mysqltest.DSN(t)}
	files := maps.Clone(mqlaws.Migrations)
	files["0002_thing.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" +
		"CREATE TABLE thing (id VARBINARY(64) PRIMARY KEY, changes BIGINT NOT NULL DEFAULT 0, changes_base BIGINT NOT NULL DEFAULT 0);")}
	p.open(t)
	require.NoError(t, database.Migrate(t.Context(), p.db, files, mq.Tables()))
	p.start(t)
	return p
}

func (p *publisher) open(t *testing.T) {
	db, err := database.Open(database.Config{DSN: p.dsn})
	require.NoError(t, err)
	p.db = db
}

// start runs the service on its database.
func (p *publisher) start(t *testing.T) {
	p.outbox = mq.NewOutbox(p.db, mq.NewBus("pub", p.transport, mq.Config{}), mq.OutboxConfig{Poll: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	relay, db := p.outbox, p.db
	go func() { done <- relay.Relay(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-done)
		assert.NoError(t, db.Close())
	})
	t.Cleanup(p.stop)
}

// change changes the thing and publishes that, and returns the event's id.
func (p *publisher) change(t *testing.T, thing string) string {
	id := mq.NewID()
	require.NoError(t, p.outbox.InTx(t.Context(), func(tx *sql.Tx) error {
		var n int64
		_, err := tx.ExecContext(t.Context(), "INSERT INTO thing (id, changes) VALUES (?, 1) ON DUPLICATE KEY UPDATE changes = changes + 1", thing)
		if err == nil {
			err = tx.QueryRowContext(t.Context(), "SELECT changes - changes_base FROM thing WHERE id = ?", thing).Scan(&n)
		}
		return errors.Join(err, p.outbox.Append(t.Context(), tx, p.topic, mq.Event{ID: id, Type: "thing.changed", Subject: thing, Sequence: n}))
	}))
	return id
}

// backUp returns a function that stops the service, puts its database back to what it is now, as a restore from a backup does, and begins a new
// generation.
func (p *publisher) backUp(t *testing.T) (restore func()) {
	tables := []string{"thing", "mq_outbox", "mq_generation"}
	for _, table := range tables {
		_, err := p.db.ExecContext(t.Context(), "CREATE TABLE backup_"+table+" AS SELECT * FROM "+table)
		require.NoError(t, err)
	}
	return func() {
		p.stop()
		p.open(t)
		p.db.SetMaxOpenConns(1)
		for _, table := range tables {
			for _, stmt := range []string{"DELETE FROM " + table, "INSERT INTO " + table + " SELECT * FROM backup_" + table} {
				_, err := p.db.ExecContext(t.Context(), stmt)
				require.NoError(t, err)
			}
		}
		_, err := mq.BeginGeneration(t.Context(), p.db, []mq.Numbered{things})
		require.NoError(t, err)
		require.NoError(t, p.db.Close())
		p.open(t)
		p.start(t)
	}
}

// TestRestoredPublisher: after a publisher's database was put back to an older state, twice, its new events have their effect in every kind of
// group, once each, though their numbers were used before; and an event of before that comes again has none.
func TestRestoredPublisher(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]mq.Order{"strict": mq.Strict, "newest": mq.Newest, "unordered": mq.Unordered} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			sub := group(s.topic)
			sub.Order = order
			background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
			p := newPublisher(t, s)
			effects := 0
			changed := func(thing string) string {
				t.Helper()
				id := p.change(t, thing)
				effects++
				row := " FROM mq_inbox WHERE event_id = '" + id + "'"
				mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*)"+row)
				require.Equal(t, "DONE\n--\n", mysqltest.Dump(t, s.db, "SELECT state"+row))
				return id
			}
			changed("a")
			changed("a")
			restore := p.backUp(t)
			lost := changed("a")
			changed("a")
			changed("b")
			for range 2 {
				restore()
				changed("a")
				changed("b")
				changed("a")
				changed("c")
			}
			// What was sent before the restore comes once more.
			_, err := p.db.ExecContext(t.Context(), "UPDATE mq_outbox SET state = 'READY', closed_at = NULL, next_at = NOW(3)")
			require.NoError(t, err)
			require.NoError(t, s.bus.Publish(t.Context(), s.topic,
				mq.Event{ID: lost, Source: "/pub", Type: "thing.changed", Subject: "a", Sequence: 3, Time: time.Now()}))
			mqlaws.AwaitCount(t, p.db, 6, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
			mqlaws.Settled(t, p.db)
			assert.Equal(t, "--\n", mysqltest.Dump(t, s.db, "SELECT subject, seq, generation, state, last_error FROM mq_inbox WHERE state <> 'DONE'"))
			assert.Equal(t, "13\n--\n3\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(DISTINCT event_id) FROM effect",
				"SELECT COUNT(DISTINCT generation) FROM mq_inbox"))
			mqlaws.AwaitCount(t, s.db, effects, "SELECT COUNT(*) FROM effect")
		})
	}
}

// TestOlderGeneration: in a group that takes the newest only, an event of an earlier generation that comes late is older than all of a later
// one.
func TestOlderGeneration(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	sub.Order = mq.Newest
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
	for _, e := range []struct {
		n          int64
		generation string
	}{{5, ""}, {1, "b"}, {6, ""}, {9, "a"}, {2, "b"}} {
		event := mqlaws.New("a", e.n)
		event.Generation = e.generation
		require.NoError(t, s.bus.Publish(t.Context(), s.topic, event))
	}
	mqlaws.AwaitCount(t, s.db, 5, "SELECT COUNT(*) FROM mq_inbox WHERE state IN ('DONE', 'OLD')")
	assert.Equal(t, "5\n1\n2\n--\n", mysqltest.Dump(t, s.db, "SELECT seq FROM effect ORDER BY id"))
}

// TestGenerationWhileInUse: an instance that runs would go on numbering in the generation in which it began.
func TestGenerationWhileInUse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p := newPublisher(t, s)
	p.change(t, "a")
	one, err := database.Open(database.Config{DSN: p.dsn, MaxConns: 1})
	require.NoError(t, err)
	defer func() { _ = one.Close() }()
	_, err = mq.BeginGeneration(t.Context(), one, []mq.Numbered{things})
	require.ErrorIs(t, err, mq.ErrInUse)
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, one, "SELECT COUNT(*) FROM mq_generation"))
}
