package mq_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestUnwoken: an event has waited long for the one before it. That one has its effect, and the process ends before it wakes the waiting one,
// which nevertheless has its effect within 30 s.
func TestUnwoken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	sub.Group = "unwoken"
	failpoint.Allow()
	point := "consume/unwoken/committed"
	require.NoError(t, failpoint.Set(point, "error")) // every process ends there
	t.Cleanup(func() { assert.NoError(t, failpoint.Set(point, "")) })
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
	require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 2)))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING'")
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_inbox SET waits = 5, next_at = NOW(3)")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE waits > 5") // looked at, and too early once more
	require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 1)))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE seq = 1 AND state = 'DONE'")
	assert.Equal(t, "WAITING\n--\n", mysqltest.Dump(t, s.db, "SELECT state FROM mq_inbox WHERE seq = 2"), "nobody woke it")
	require.Eventually(t, func() bool { return mysqltest.Dump(t, s.db, "SELECT seq FROM effect ORDER BY id") == "1\n2\n--\n" }, 30*time.Second,
		50*time.Millisecond)
}
