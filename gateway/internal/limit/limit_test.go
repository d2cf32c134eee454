package limit_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/redistest"
	"example.com/fourfold/gateway/internal/limit"
)

// record is a log to look into.
type record struct {
	mu sync.Mutex
	bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Buffer.Write(p)
}

func (r *record) lines() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.String(), "\n")
}

// patient is a wait that even a busy machine keeps to.
const patient = 5 * time.Second

func open(t *testing.T, addr string, patience time.Duration) (*limit.Limiter, *record) {
	t.Helper()
	rdb, err := limit.Open(limit.Config{Addr: addr, Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	log := &record{}
	l, err := limit.New(rdb, slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	require.NoError(t, err)
	return l, log
}

// take returns how many of n calls pass, and the last refusal.
func take(l *limit.Limiter, subject string, rate limit.Rate, n int) (passed int, refusal error) {
	for range n {
		if err := l.Take(context.Background(), subject, rate); err != nil {
			refusal = err
		} else {
			passed++
		}
	}
	return passed, refusal
}

func TestBurstThenRefused(t *testing.T) {
	t.Parallel()
	l, log := open(t, redistest.Start(t).Addr, patient)
	rate := limit.Rate{PerSecond: 1, Burst: 5}
	start := time.Now()
	passed, refusal := take(l, "a", rate, 30)
	assert.GreaterOrEqual(t, passed, 5)
	assert.LessOrEqual(t, passed, 6+int(time.Since(start).Seconds()), "the burst, and one more for each second that this took")
	e := kerrors.FromError(refusal)
	require.EqualValues(t, 429, e.GetCode())
	assert.Equal(t, "TOO_MANY_REQUESTS", e.Reason)
	seconds, err := strconv.Atoi(e.Metadata["retry_after"])
	require.NoError(t, err)
	assert.GreaterOrEqual(t, seconds, 1)

	passed, _ = take(l, "b", rate, 3)
	assert.Equal(t, 3, passed, "another subject has a limit of its own")
	assert.Zero(t, log.lines())
}

func TestPassesAgainAfterRetryAfter(t *testing.T) {
	t.Parallel()
	l, _ := open(t, redistest.Start(t).Addr, patient)
	rate := limit.Rate{PerSecond: 20, Burst: 1}
	_, _ = take(l, "a", rate, 2)
	assert.Eventually(t, func() bool { return l.Take(t.Context(), "a", rate) == nil }, 5*time.Second, 10*time.Millisecond)
}

func TestZeroIsNoLimit(t *testing.T) {
	t.Parallel()
	l, _ := open(t, redistest.Start(t).Addr, patient)
	passed, _ := take(l, "a", limit.Rate{}, 200)
	assert.Equal(t, 200, passed)
}

func TestRedisDownAndBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l, log := open(t, server.Addr, patient)
	rate := limit.Rate{PerSecond: 1, Burst: 1}
	_, _ = take(l, "a", rate, 2)

	server.Stop()
	assert.Empty(t, l.Degraded())
	start := time.Now()
	passed, refusal := take(l, "a", rate, 100)
	assert.Positive(t, passed, "without Redis the shop goes on")
	assert.LessOrEqual(t, passed, 2+int(time.Since(start).Seconds()), "and this gateway counts by itself")
	assert.EqualValues(t, 429, kerrors.Code(refusal))
	passed, _ = take(l, "b", rate, 1)
	assert.Equal(t, 1, passed, "each subject for itself")
	assert.Equal(t, 1, log.lines(), "it is said once, not at each call")
	assert.Contains(t, l.Degraded(), "Redis does not answer")

	server.Restart(t)
	assert.Eventually(t, func() bool { return l.Take(t.Context(), "a", rate) != nil }, 15*time.Second, 20*time.Millisecond,
		"the limit is back with Redis")
}

func TestRedisHangs(t *testing.T) {
	t.Parallel()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nothing answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = deaf.Close() })
	l, log := open(t, deaf.Addr().String(), 50*time.Millisecond)
	start := time.Now()
	passed, _ := take(l, "a", limit.Rate{PerSecond: 1, Burst: 100}, 5)
	assert.Less(t, passed, 5, "the burst is Redis' to know")
	assert.Less(t, time.Since(start), 5*500*time.Millisecond, "a call waits for 50 ms, not for seconds")
	assert.Equal(t, 1, log.lines())
}

func TestAddress(t *testing.T) {
	t.Parallel()
	const lb, cdn = "192.0.2.1", "203.0.113.0/24"
	for _, c := range []struct {
		remote    string
		forwarded []string
		proxies   string
		want      string
	}{
		{"192.0.2.1:4711", nil, "", "192.0.2.1"},
		{"192.0.2.1:4711", []string{"198.51.100.7"}, "", "192.0.2.1"},
		{"192.0.2.1:4711", []string{"198.51.100.7"}, lb, "198.51.100.7"},
		{"192.0.2.9:4711", []string{"198.51.100.7"}, lb, "192.0.2.9"}, // it is no proxy of ours
		{"192.0.2.1:4711", []string{"1.1.1.1, 198.51.100.7"}, lb, "198.51.100.7"},
		{"192.0.2.1:4711", []string{"1.1.1.1", "198.51.100.7"}, lb, "198.51.100.7"},
		{"192.0.2.1:4711", []string{"1.1.1.1, 198.51.100.7, 203.0.113.5"}, lb + ", " + cdn, "198.51.100.7"},
		{"192.0.2.1:4711", []string{"203.0.113.5, 198.51.100.7, 203.0.113.6"}, lb + "," + cdn, "198.51.100.7"}, // the first is made up
		{"192.0.2.1:4711", []string{"203.0.113.5"}, lb + "," + cdn, "203.0.113.5"},
		{"192.0.2.1:4711", []string{"198.51.100.7:50123"}, lb, "198.51.100.7"},
		{"192.0.2.1:4711", []string{"[2001:db8:9:8::1]:50123"}, lb, "2001:db8:9:8::/64"},
		{"192.0.2.1:4711", []string{"[2001:db8:9:8::1]"}, lb, "2001:db8:9:8::/64"},
		{"192.0.2.1:4711", nil, lb, "192.0.2.1"},
		{"192.0.2.1:4711", []string{"made up"}, lb, "192.0.2.1"},
		{"192.0.2.1:4711", []string{"198.51.100.7, "}, lb, "192.0.2.1"},
		{"[2001:db8:1:2:3:4:5:6]:4711", nil, "", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:3:4:5:6]:4711", []string{"198.51.100.7"}, "2001:db8::/32", "198.51.100.7"},
		{"[::ffff:192.0.2.1]:4711", []string{"::ffff:198.51.100.7"}, lb, "198.51.100.7"},
		{"@", nil, lb, "unknown"},
	} {
		proxies, err := limit.ParseProxies(c.proxies)
		require.NoError(t, err)
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		assert.Equal(t, c.want, proxies.Address(r), "%+v", c)
	}
	for _, wrong := range []string{"10.0.0.0/33", "all", "10.0.0.0/8;10.1.0.0/16", "true"} {
		_, err := limit.ParseProxies(wrong)
		require.ErrorContains(t, err, "10.0.0.0/8", wrong)
	}
}
