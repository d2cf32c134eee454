package mq

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
)

// TestCheckerContained: a check that panics or hangs answers "not known yet", in time.
func TestCheckerContained(t *testing.T) {
	t.Parallel()
	bus := NewBus("test", nil, Config{})
	panics := NewOutbox(nil, bus, OutboxConfig{})
	assert.Equal(t, Unknown, panics.answer("t", "e1", time.UnixMilli(1)))

	deaf := make(deaf)
	t.Cleanup(func() { close(deaf) })
	hangs := NewOutbox(sql.OpenDB(deaf), bus, OutboxConfig{CheckTimeout: 100 * time.Millisecond})
	start := time.Now()
	assert.Equal(t, Unknown, hangs.answer("t", "e1", time.UnixMilli(1)))
	assert.Less(t, time.Since(start), 2*time.Second)
}

// deaf is a connector to a database that neither answers nor heeds its context.
type deaf chan struct{}

func (d deaf) Connect(context.Context) (driver.Conn, error) { <-d; return nil, driver.ErrBadConn }
func (d deaf) Driver() driver.Driver                        { return nil }

// TestCheckerAnswers: the row decides. Without one the answer comes only when the local transaction's time is over, and then it cannot come any
// more.
func TestCheckerAnswers(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, Tables().Migrations)
	o := NewOutbox(db, NewBus("test", nil, Config{}), OutboxConfig{LongestTx: 10 * time.Second})
	check := func(id string, age time.Duration) Verdict {
		var now int64
		require.NoError(t, db.QueryRow("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").Scan(&now))
		return o.answer("t", id, time.UnixMilli(now).Add(-age))
	}
	appended := func(id, state string) error {
		_, err := db.Exec("INSERT INTO mq_outbox (event_id, topic, subject, event, state) VALUES (?, 't', '', '', ?)", id, state)
		return err
	}
	require.NoError(t, appended("half", stateHalf))
	require.NoError(t, appended("sent", stateSent))
	assert.Equal(t, Commit, check("half", time.Hour))
	assert.Equal(t, Commit, check("sent", 0))
	assert.Equal(t, Unknown, check("late", 5*time.Second))
	assert.Equal(t, Rollback, check("late", 20*time.Second))
	assert.Equal(t, Rollback, check("late", 0), "a tombstone is final")
	late := Event{ID: "late", Source: "/test", Type: "x"}
	err := o.local(t.Context(), "t", late, stateHalf, func(*sql.Tx) error { t.Error("a local transaction after its tombstone"); return nil })
	assert.ErrorIs(t, err, ErrLate)
	assert.ErrorIs(t, err, context.DeadlineExceeded, "a service answers 503")
}
