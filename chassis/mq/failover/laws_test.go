package failover_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/redistest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestLaws: by the broker with every second queue in Redis, and with the broker away.
func TestLaws(t *testing.T) {
	t.Parallel()
	s, r := rocketmqtest.Shared(t), redistest.Start(t)
	for name, forced := range map[string]redis.Force{"normal": redis.Automatic, "degraded": redis.Held} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mqlaws.Run(t, func(t *testing.T) (mq.Transport, string) {
				q, err := redis.Open(redis.Config{Addr: r.Addr, Prefix: mq.NewID()})
				require.NoError(t, err)
				t.Cleanup(q.Close)
				f := failover.New("laws", s.Broker(t, "laws"), q, failover.Config{Canary: 2, Deadline: 3 * time.Second}) // laws send once
				background(t, f.Run)
				require.Eventually(t, func() bool {
					s, err := f.Look(t.Context())
					return err == nil && s.Epoch > 0
				}, 20*time.Second, 10*time.Millisecond)
				if forced == redis.Automatic {
					return f, s.Topic(t)
				}
				require.NoError(t, f.Force(t.Context(), forced, "laws", "the broker is away"))
				return struct{ mq.Halves }{f}, s.Topic(t) // the history has it when the broker is back
			})
		})
	}
}
