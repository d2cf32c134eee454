package failover_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/failover/failovertest"
	"example.com/fourfold/chassis/mq/redis"
)

// leave makes a group without an instance.
func (p *process) leave(t *testing.T, group string) {
	t.Helper()
	l := p.listen(t, group)
	require.Eventually(t, func() bool {
		b, err := p.Backlog(t.Context())
		return err == nil && len(b.Groups) == 1
	}, 10*time.Second, 10*time.Millisecond)
	l.stop()
}

// TestMetrics: Prometheus reads the mode and its epoch, and what lies in the queues and for whom; nothing of the queues while Redis is away.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	require.NoError(t, err)
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter)))
	read := func() map[string]string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		text, err := io.ReadAll(w.Body)
		require.NoError(t, err)
		values := map[string]string{}
		for line := range strings.Lines(string(text)) {
			if at := strings.LastIndex(line, " "); strings.HasPrefix(line, "mq_") {
				values[line[:at]] = strings.TrimSpace(line[at:])
			}
		}
		return values
	}
	h := newHouse(t)
	p := h.process(t, "a")
	require.NoError(t, failover.Observe(p.Transport))
	require.NoError(t, failover.ObserveQueues(p.Transport))
	p.await(t, redis.Normal, 5*time.Second)
	require.Eventually(t, func() bool { return read()["mq_mode_epoch"] == "1" }, 5*time.Second, 10*time.Millisecond)
	got := read()
	assert.Equal(t, "1 0 0 0", strings.Join([]string{got[`mq_mode{mode="NORMAL"}`], got[`mq_mode{mode="DEGRADED"}`], got["mq_queue_entries"],
		got["mq_queue_oldest_seconds"]}, " "))

	p.leave(t, "there")
	require.NoError(t, p.Force(t.Context(), redis.Held, "ann", "a test"))
	for range 3 {
		require.NoError(t, p.send(t, "x", 0))
	}
	time.Sleep(100 * time.Millisecond)
	got = read()
	assert.Equal(t, "0 1 3 3", strings.Join([]string{got[`mq_mode{mode="NORMAL"}`], got[`mq_mode{mode="DEGRADED"}`], got["mq_queue_entries"],
		got[`mq_queue_groups{group="there"}`]}, " "))
	assert.Equal(t, "2", got["mq_mode_epoch"])
	assert.Regexp(t, `^[0-9]\.[0-9]+$`, got["mq_queue_oldest_seconds"])
	h.redis.Freeze(t)
	got = read()
	assert.Equal(t, "1", got[`mq_mode{mode="DEGRADED"}`])
	assert.NotContains(t, got, "mq_queue_entries")
	h.redis.Thaw(t)
}

// TestStatus: what Redis says is told with what lies in the queues and what happened; without Redis, what was last known.
func TestStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.process(t, "a", func(c *failover.Config) { c.Canary = 50 })
	p.await(t, redis.Normal, 5*time.Second)
	p.leave(t, "there")
	for n := range int64(200) { // to all queues, of which two are canaries
		require.NoError(t, p.send(t, "s"+strings.Repeat("x", int(n)), 0))
	}
	all, err := p.Backlog(t.Context())
	require.NoError(t, err)
	canary, err := p.CanaryBacklog(t.Context())
	require.NoError(t, err)
	assert.Equal(t, all.Entries, canary.Entries)
	assert.Positive(t, canary.Entries)
	assert.WithinDuration(t, time.Now(), canary.OldestOf("there"), 20*time.Second)
	assert.True(t, canary.OldestOf("nobody").IsZero())
	require.NoError(t, p.Force(t.Context(), redis.Held, "ann", "by: hand"))
	require.NoError(t, p.send(t, "y", 0))
	more, err := p.Backlog(t.Context())
	require.NoError(t, err)
	assert.Greater(t, more.Entries, all.Entries)
	assert.Equal(t, all.Oldest, more.OldestOf("there"))
	require.NoError(t, p.Force(t.Context(), redis.Automatic, "bob", "done"))
	st := p.Status(t.Context())
	assert.True(t, st.Answered)
	require.Len(t, st.Changes, 2)
	assert.Equal(t, failover.Change{At: st.Changes[0].At, From: redis.Degraded, To: redis.Degraded, By: "bob", Why: "done"}, st.Changes[0])
	assert.Equal(t, failover.Change{At: st.State.Since, From: redis.Normal, To: redis.Degraded, By: "ann", Why: "by: hand"}, st.Changes[1])
	h.redis.Stop()
	st = p.Status(t.Context())
	assert.False(t, st.Answered)
	assert.Equal(t, int64(2), st.State.Epoch)
	assert.WithinDuration(t, time.Now(), st.AsOf, 20*time.Second)
	assert.Empty(t, st.Changes)
}

// TestAddresses: what is shown of why the broker is away says why, and not where it is.
func TestAddresses(t *testing.T) {
	t.Parallel()
	p := newHouse(t).process(t, "a")
	require.NoError(t, p.send(t, "x", 1))
	p.await(t, redis.Normal, 5*time.Second)
	p.Link.State.Store(failovertest.Refuses)
	p.await(t, redis.Degraded, 10*time.Second)
	assert.Regexp(t, `^\d+ sends in a row failed within [0-9.]+m?s, the last one: connect: connection refused$`, p.state(t).Why)
}

// TestForcedBeforeAnySend: what was forced ends although nobody had sent anything that says where probes go; a process that sends leads back,
// not one that never does.
func TestForcedBeforeAnySend(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	silent, p := h.process(t, "silent"), h.process(t, "a")
	silent.await(t, redis.Normal, 5*time.Second)
	require.NoError(t, silent.Force(t.Context(), redis.Held, "ann", "a test"))
	time.Sleep(time.Second)
	require.NoError(t, silent.Force(t.Context(), redis.Automatic, "ann", "done"))
	p.listen(t, "there")
	require.NoError(t, p.send(t, "x", 1))
	p.await(t, redis.Normal, 10*time.Second)
}
