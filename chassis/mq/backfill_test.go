package mq_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestBackfill: everything that was sent since then is sent again, part by part, and nothing older or that a group may have forgotten; what the
// transport held is offered at once. Groups that had an event do nothing the second time.
func TestBackfill(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
	broker := memory.New()
	bus := mq.NewBus("shop", broker, mq.Config{})
	o := mq.NewOutbox(db, bus, mq.OutboxConfig{Poll: 20 * time.Millisecond})
	stop := background(t, o.Relay)
	background(t, func(ctx context.Context) error {
		return bus.Consume(ctx, db, mq.Subscription{Group: "all", Topic: "things"}, mqlaws.Effect("all"))
	})
	const many = 1200 // more than two parts
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
		for range many + 2 {
			if err := o.Append(t.Context(), tx, "things", mqlaws.New("s", 0)); err != nil {
				return err
			}
		}
		return nil
	}))
	mqlaws.AwaitCount(t, db, many+2, "SELECT COUNT(*) FROM effect")
	mqlaws.AwaitCount(t, db, many+2, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	stop()
	exec := func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	exec("UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 1 HOUR ORDER BY id LIMIT 1")
	exec("UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 7 DAY ORDER BY id DESC LIMIT 1")
	require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error { return o.Append(t.Context(), tx, "things", mqlaws.New("timer", 0)) }))
	exec(`UPDATE mq_outbox SET deliver_at = NOW(3) + INTERVAL 1 HOUR, next_at = NOW(3) + INTERVAL 5 MINUTE, last_error = 'held' WHERE subject = 'timer'`)

	background(t, o.Relay)
	done := make(chan struct{})
	go func() { o.Backfill(t.Context(), time.Now().Add(-time.Minute)); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	mqlaws.AwaitCount(t, db, many, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND resent_at IS NOT NULL")
	mqlaws.AwaitCount(t, db, 1, "SELECT COUNT(*) FROM mq_outbox WHERE subject = 'timer' AND state = 'SENT'")
	o.Backfill(t.Context(), time.Now().Add(-30*24*time.Hour))
	mqlaws.AwaitCount(t, db, many+1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND resent_at IS NOT NULL AND subject = 's'")
	assert.Equal(t, "1\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox WHERE resent_at IS NULL AND subject = 's'"), "seven days old")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM (SELECT 1 FROM effect GROUP BY event_id HAVING COUNT(*) > 1) q"))
}
