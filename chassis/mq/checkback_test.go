package mq

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strconv"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mysql/mysqltest"
)

// TestCheckerContained: a check that panics or hangs answers "not known yet", in time.
func TestCheckerContained(t *testing.T) {
	t.Parallel()
	m := &primitive.MessageExt{}
	m.WithProperty("id", "e1")
	m.WithProperty(bornProperty, "1")

	panics := NewOutbox(nil, nil, OutboxConfig{})
	assert.Equal(t, primitive.UnkonwnState, listenerOf{panics}.CheckLocalTransaction(m))

	deaf := make(deaf)
	t.Cleanup(func() { close(deaf) })
	hangs := NewOutbox(sql.OpenDB(deaf), nil, OutboxConfig{CheckTimeout: 100 * time.Millisecond})
	start := time.Now()
	assert.Equal(t, primitive.UnkonwnState, listenerOf{hangs}.CheckLocalTransaction(m))
	assert.Less(t, time.Since(start), 2*time.Second)
}

// deaf is a way to a database that neither answers nor listens to who waits for it.
type deaf chan struct{}

func (d deaf) Connect(context.Context) (driver.Conn, error) { <-d; return nil, driver.ErrBadConn }
func (d deaf) Driver() driver.Driver                        { return nil }

// TestCheckerAnswers: by the row; without one only when the local transaction had its time, and then it can not come any more.
func TestCheckerAnswers(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, Tables().Migrations)
	o := NewOutbox(db, nil, OutboxConfig{LongestTx: 10 * time.Second})
	check := func(id string, age time.Duration) primitive.LocalTransactionState {
		var now int64
		require.NoError(t, db.QueryRow("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").Scan(&now))
		m := &primitive.MessageExt{}
		m.Topic = "t"
		m.WithProperty("id", id)
		m.WithProperty(bornProperty, strconv.FormatInt(now-age.Milliseconds(), 10))
		return listenerOf{o}.CheckLocalTransaction(m)
	}
	appended := func(id, state string) error {
		_, err := db.Exec("INSERT INTO mq_outbox (event_id, topic, subject, event, state) VALUES (?, 't', '', '', ?)", id, state)
		return err
	}
	require.NoError(t, appended("half", stateHalf))
	require.NoError(t, appended("sent", stateSent))
	assert.Equal(t, primitive.CommitMessageState, check("half", time.Hour))
	assert.Equal(t, primitive.CommitMessageState, check("sent", 0))
	assert.Equal(t, primitive.UnkonwnState, check("late", 5*time.Second))
	assert.Equal(t, primitive.RollbackMessageState, check("late", 20*time.Second))
	assert.Equal(t, primitive.RollbackMessageState, check("late", 0), "a tombstone is final")
	late := Event{ID: "late", Source: "/test", Type: "x"}
	err := o.local(t.Context(), "t", late, stateHalf, func(*sql.Tx) error { t.Error("a local transaction behind its tombstone"); return nil })
	assert.ErrorIs(t, err, ErrLate)
}
