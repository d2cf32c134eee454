package mysql_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/migrations"
)

// TestBrokerKilled tests that each timer wakes at its time although the broker is killed just after it has taken the timers into its timer
// wheel, which it writes to disk only every ten seconds.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	server.Create(t, eventv1.TopicOrderTimers, eventv1.TopicOrders)
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	reader := server.Broker(t, "reader")
	outbox := mq.NewOutbox(db, server.Dial(t), mq.OutboxConfig{})
	store := mysql.NewStore(db, outbox)
	background(t, outbox.Relay)
	began := time.Now()
	awaitWoken := func(ids ...string) {
		t.Helper()
		want := map[string]bool{}
		for _, id := range ids {
			want["expiry:"+id] = true
		}
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			woken := map[string]bool{}
			events, err := mqtest.Events(t.Context(), reader, eventv1.TopicOrderTimers, began)
			assert.NoError(c, err)
			for _, e := range events {
				woken[e.Attributes["timer"]] = true
				assert.False(t, time.Now().Before(e.Time.Truncate(100*time.Millisecond)), "too early")
			}
			assert.Equal(c, want, woken)
		}, 60*time.Second, 100*time.Millisecond)
	}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		payable(t, store, id, 20*time.Second)
	}
	await(t, db, "SENT 10\n--\n", "SELECT state, COUNT(*) FROM mq_outbox GROUP BY state")
	payable(t, store, "first", time.Second)
	awaitWoken("first") // so the broker has taken in those that were sent before
	server.Kill()
	require.NoError(t, server.Restart())
	awaitWoken("first", "a", "b", "c", "d", "e")
}
