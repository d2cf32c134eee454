package redisdb_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/redisdb"
	"example.com/fourfold/chassis/redistest"
)

// TestOptions: a server with a password is reached by a URL, and only with the right one.
func TestOptions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	open := func(addr string) *redis.Client {
		o, err := redisdb.Options(addr, 5*time.Second)
		require.NoError(t, err)
		c := redis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	admin := open(server.Addr)
	require.NoError(t, admin.Ping(t.Context()).Err())
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "gateway", "on", ">pa:ss@word/#", "~*", "+@all").Err())
	require.NoError(t, admin.ConfigSet(t.Context(), "requirepass", "secret").Err())

	assert.ErrorContains(t, open(server.Addr).Ping(t.Context()).Err(), "NOAUTH")
	assert.ErrorContains(t, open("redis://:wrong@"+server.Addr).Ping(t.Context()).Err(), "WRONGPASS")
	for _, url := range []string{"redis://:secret@" + server.Addr, "redis://:secret@" + server.Addr + "/3", "redis://gateway:pa%3Ass%40word%2F%23@" + server.Addr} {
		c := open(url)
		assert.NoError(t, c.Ping(t.Context()).Err(), url)
		assert.Equal(t, 5*time.Second, c.Options().ReadTimeout, "the patience is ours")
	}
	assert.Equal(t, 3, open("redis://"+server.Addr+"/3").Options().DB)
	o, err := redisdb.Options("rediss://u:p@redis.example.com:6380/1", time.Second)
	require.NoError(t, err)
	assert.Equal(t, "redis.example.com", o.TLSConfig.ServerName)

	for _, wrong := range []string{"", "redis", "localhost:", "http://u:hunter2@h:1", "redis://u:hunter2@h:1/x", "redis://u:hunter2@h:%zz"} {
		_, err := redisdb.Options(wrong, time.Second)
		require.ErrorContains(t, err, "host:port", wrong)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}
