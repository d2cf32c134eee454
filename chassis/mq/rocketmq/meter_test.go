package rocketmq_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestMetrics: Prometheus reads sends by topic and outcome, deliveries by group and outcome, and open rows with the age of the oldest.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	require.NoError(t, err)
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter)))
	// read returns the lines of /metrics that name one of names, mapped to their values.
	read := func(names ...string) map[string]string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		text, err := io.ReadAll(w.Body)
		require.NoError(t, err)
		values := map[string]string{}
		for line := range strings.Lines(string(text)) {
			at := strings.LastIndex(line, " ")
			for _, name := range names {
				if strings.Contains(line, name) && !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket{") &&
					!strings.Contains(line, "_sum{") {
					values[line[:at]] = strings.TrimSpace(line[at:])
				}
			}
		}
		return values
	}

	s := newStage(t, rocketmqtest.Shared(t))
	require.NoError(t, mq.Observe(s.db))
	b := s.dial(t)
	require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New("a", 0)))
	twice := mqlaws.New("b", 0)
	require.NoError(t, b.Publish(t.Context(), s.topic, twice))
	require.NoError(t, b.Publish(t.Context(), s.topic, twice))
	require.ErrorIs(t, b.Publish(t.Context(), s.topic, mq.Event{}), mq.ErrRefused)
	require.ErrorIs(t, b.Publish(t.Context(), s.topic+"-absent", mqlaws.New("c", 0)), mq.ErrUnavailable)
	var failed atomic.Bool
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, s.db, group(s.topic), func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if e.Subject == "a" && failed.CompareAndSwap(false, true) {
				return errors.New("no")
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	sends, taken := func(outcome string) string {
		return `mq_publish_duration_seconds_count{outcome="` + outcome + `",topic="` + s.topic + `"}`
	}, func(outcome string) string {
		return `mq_consume_duration_seconds_count{group="` + group(s.topic).Group + `",outcome="` + outcome + `"}`
	}
	assert.Equal(t, map[string]string{sends("sent"): "3", sends("refused"): "1"}, read(`topic="`+s.topic+`"`))
	assert.Equal(t, map[string]string{`mq_publish_duration_seconds_count{outcome="unavailable",topic="` + s.topic + `-absent"}`: "1"},
		read(s.topic+`-absent"`))
	want := map[string]string{taken("done"): "2", taken("failed"): "1", taken("duplicate"): "1"}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, want, read("mq_consume_duration_seconds_count{group=\""+group(s.topic).Group+`"`))
	}, 60*time.Second, 50*time.Millisecond)

	_, err = s.db.ExecContext(t.Context(), `INSERT INTO mq_outbox (event_id, topic, subject, event, state, created_at, next_at) VALUES
		('1', 't', '', '', 'READY', NOW(3) - INTERVAL 1000 SECOND, NOW(3)), ('2', 't', '', '', 'READY', NOW(3), NOW(3)), ('3', 't', '', '', 'HALF', NOW(3), NOW(3))`)
	require.NoError(t, err)
	_, err = s.db.ExecContext(t.Context(),
		`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state) VALUES ('g', 's', '1', 't', 'x', '', 0, 'DEAD')`)
	require.NoError(t, err)
	rows := read("mq_outbox_rows", "mq_inbox_rows")
	assert.Equal(t, map[string]string{`mq_outbox_rows{group="",state="READY"}`: "2", `mq_outbox_rows{group="",state="HALF"}`: "1",
		`mq_inbox_rows{group="g",state="DEAD"}`: "1"}, rows)
	oldest := read(`mq_outbox_oldest_seconds{group="",state="READY"}`)
	require.Len(t, oldest, 1)
	for _, age := range oldest {
		assert.Regexp(t, `^10[0-9][0-9]\.`, age)
	}
}
