package redisdb_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/mtls/mtlstest"
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/redisdb"
	"example.com/fourfold/chassis/redistest"
)

// TestOptions: a server with a password is reached by a URL, and only with the right one.
func TestOptions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	open := func(addr string) *redis.Client {
		o, err := redisdb.Options(addr, "", 5*time.Second)
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
	o, err := redisdb.Options("rediss://u:p@redis.example.com:6380/1", "", time.Second)
	require.NoError(t, err)
	assert.Equal(t, "redis.example.com", o.TLSConfig.ServerName)

	_, err = redisdb.Options("redis://"+server.Addr, "ca.crt", time.Second)
	require.ErrorContains(t, err, "it has to begin with rediss:// where authorities (REDIS_CA) are set")
	_, err = redisdb.Options("rediss://"+server.Addr, "absent", time.Second)
	require.ErrorContains(t, err, "REDIS_CA: open absent")
	for _, wrong := range []string{"", "redis", "localhost:", "http://u:hunter2@h:1", "redis://u:hunter2@h:1/x", "redis://u:hunter2@h:%zz"} {
		_, err := redisdb.Options(wrong, "", time.Second)
		require.ErrorContains(t, err, "host:port", wrong)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

// TestTLS: a server with a certificate is reached when an authority that was named issued it, for the host of the URL, and not otherwise.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours := mtlstest.New(t)
	good, elsewhere := ours.Issue(t, "127.0.0.1"), ours.Issue(t, "127.0.0.2")
	start := func(c mtls.Config) string {
		claim, err := port.Take()
		require.NoError(t, err)
		t.Cleanup(claim.Close)
		redistest.Start(t, "--tls-port", strconv.Itoa(claim.Port), "--tls-auth-clients", "no",
			"--tls-cert-file", c.Cert, "--tls-key-file", c.Key, "--tls-ca-cert-file", c.CA)
		return "rediss://" + claim.Addr()
	}
	right := start(good)
	for _, row := range []struct{ name, url, ca, fails string }{
		{"right", right, ours.File, ""},
		{"another authority", right, mtlstest.New(t).File, "certificate signed by unknown authority"},
		{"the machine's authorities", right, "", "certificate signed by unknown authority"},
		{"another name", start(elsewhere), ours.File, "certificate is valid for 127.0.0.2, not 127.0.0.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, err := redisdb.Options(row.url, row.ca, 5*time.Second)
			require.NoError(t, err)
			client := redis.NewClient(o)
			defer func() { _ = client.Close() }()
			if err = client.Ping(t.Context()).Err(); row.fails != "" {
				require.ErrorContains(t, err, row.fails)
				return
			}
			require.NoError(t, err)
		})
	}
}
