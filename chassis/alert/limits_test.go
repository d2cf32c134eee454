package alert_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/redisdb"
	"example.com/fourfold/chassis/redistest"
)

// TestLimitsRedisAway: operators are told once when the Redis for limits has taken nothing for long, silent or refusing, and it is over when it
// does.
func TestLimitsRedisAway(t *testing.T) {
	t.Parallel()
	const key = "limits-redis"
	server := redistest.Start(t)
	db, of := open(t)
	options, err := redisdb.Options(server.Addr, "", 200*time.Millisecond)
	require.NoError(t, err)
	rdb := redis.NewClient(options)
	t.Cleanup(func() { _ = rdb.Close() })
	one, two := alert.NewLimitsWatch(of[0], rdb, long), alert.NewLimitsWatch(of[1], rdb, long)
	look := func() {
		require.NoError(t, one.Look(t.Context()))
		require.NoError(t, two.Look(t.Context()))
	}
	look()
	server.Freeze(t)
	look()
	assert.False(t, lasting(t, db, key), "not for long")
	require.Eventually(t, func() bool { look(); return lasting(t, db, key) }, 10*time.Second, 50*time.Millisecond)
	look()
	server.Thaw(t)
	require.Eventually(t, func() bool { look(); return !lasting(t, db, key) }, 10*time.Second, 50*time.Millisecond)
	var told int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM mq_outbox WHERE topic = 'alert-events'").Scan(&told))
	assert.Equal(t, 1, told)

	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Eventually(t, func() bool { look(); return lasting(t, db, key) }, 10*time.Second, 50*time.Millisecond, "it is full")
	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.Eventually(t, func() bool { look(); return !lasting(t, db, key) }, 10*time.Second, 50*time.Millisecond)
}
