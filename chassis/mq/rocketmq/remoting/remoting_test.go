package remoting_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/chassis/mq/rocketmq/remoting/remotingtest"
)

// TestBrokers: all brokers of a cluster, and its masters, as the name server lists them, with keys that are no JSON.
func TestBrokers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct{ all, masters []string }{
		`{"brokerAddrTable":{},"clusterAddrTable":{}}`: {},
		`{"brokerAddrTable":{"b":{"brokerAddrs":{0:"h:1",12:"h:3"}},"a":{"brokerAddrs":{0:"h:2"}}}}`: {
			[]string{"h:1", "h:2", "h:3"}, []string{"h:1", "h:2"}},
		`{"brokerAddrTable":{"a":{"brokerAddrs":{2:"h:2"}}}}`: {[]string{"h:2"}, nil},
	} {
		names := remotingtest.Serve(t, func(int, map[string]string) (int, string) { return 0, body })
		all, err := remoting.Brokers(t.Context(), names)
		require.NoError(t, err)
		assert.Equal(t, want.all, all, body)
		masters, err := remoting.Masters(t.Context(), names)
		require.NoError(t, err)
		assert.Equal(t, want.masters, masters, body)
	}
}

// TestDiskUsed: what is no part of a disk is an error, and so is an answer that is none.
func TestDiskUsed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code int
		body string
		used float64
		err  string
	}{
		{0, `{"table":{"commitLogDiskRatio":"0.32"}}`, 0.32, ""},
		{0, `{"table":{"commitLogDiskRatio":"1.0"}}`, 1, ""},
		{0, `{"table":{"commitLogDiskRatio":"-1.0"}}`, 0, `says that "-1.0"`},
		{0, `{"table":{"commitLogDiskRatio":"1.7976931348623157E308"}}`, 0, "says that"},
		{0, `{"table":{"commitLogDiskRatio":"NaN"}}`, 0, "says that"},
		{0, `{"table":{}}`, 0, `says that ""`},
		{0, `not JSON`, 0, "invalid"},
		{1, ``, 0, "it answers 1 the test wants it"},
	} {
		addr := remotingtest.Serve(t, func(int, map[string]string) (int, string) { return test.code, test.body })
		used, err := remoting.Credentials{}.DiskUsed(t.Context(), addr)
		assert.Equal(t, test.used, used, test.body)
		if test.err == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, test.err)
		}
	}
}

// TestAskEnds: a server that says nothing is left when ctx ends.
func TestAskEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = remoting.Ask(ctx, l.Addr().String(), remoting.BrokerRuntimeInfo)
	require.ErrorContains(t, err, "it does not answer")
	assert.Less(t, time.Since(began), 2*time.Second)
}

// TestMarks: those who warn before the broker refuses know its settings.
func TestMarks(t *testing.T) {
	t.Parallel()
	conf, err := os.ReadFile("../../../../deploy/rocketmq/broker.conf")
	require.NoError(t, err)
	settings := map[string]string{}
	for line := range strings.Lines(string(conf)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = value
		}
	}
	percent := func(part float64) string { return strconv.Itoa(int(100*part + 0.5)) }
	assert.Equal(t, percent(remoting.Tight), settings["diskMaxUsedSpaceRatio"])
	assert.Equal(t, percent(remoting.Full), settings["diskSpaceWarningLevelRatio"])
}

// TestSign: what is signed is every value in the order of the names, and the body, as RocketMQ's own clients do it.
func TestSign(t *testing.T) {
	t.Parallel()
	got := make(chan map[string]string, 2)
	addr := remotingtest.Serve(t, func(_ int, args map[string]string) (int, string) { got <- args; return 16, "" })
	_, err := remoting.Credentials{AccessKey: "shop", SecretKey: "secret"}.Ask(t.Context(), addr, remoting.TopicConfig, []byte("body"), "topic", "things", "b", "2")
	require.ErrorIs(t, err, remoting.ErrNotPermitted)
	mac := hmac.New(sha1.New, []byte("secret"))
	mac.Write([]byte("shop" + "2" + "things" + "body"))
	assert.Equal(t, map[string]string{"topic": "things", "b": "2", "AccessKey": "shop", "Signature": base64.StdEncoding.EncodeToString(mac.Sum(nil))}, <-got)
	_, err = remoting.Ask(t.Context(), addr, remoting.TopicConfig, "topic", "things")
	require.Error(t, err)
	assert.Equal(t, map[string]string{"topic": "things"}, <-got, "nobody in particular asks")
}
