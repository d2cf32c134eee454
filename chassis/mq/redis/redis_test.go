package redis_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/redistest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// open returns a connection to s, with keys that no other test uses.
func open(t *testing.T, s *redistest.Server, change ...func(*redis.Config)) *redis.Queues {
	t.Helper()
	cfg := redis.Config{Addr: s.Addr, Prefix: mq.NewID()}
	for _, f := range change {
		f(&cfg)
	}
	q, err := redis.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(q.Close)
	return q
}

func TestLaws(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	mqlaws.Run(t, func(t *testing.T) (mq.Transport, string) { return open(t, s), "things" })
}
