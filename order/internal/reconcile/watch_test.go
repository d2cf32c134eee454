package reconcile_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/order/internal/reconcile"
)

// TestWatch tests that two instances show the result of the last check, whichever of them made it.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.fill(t, 40)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var readers []*sdk.ManualReader
	for range 2 {
		reader := sdk.NewManualReader()
		otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))) // of the whole process: no other test here sets it
		readers = append(readers, reader)
		w := reconcile.NewWatch(s.comparator(), s.store, alert.New(mqtest.Absent(t, s.order, "order"), s.order, "order"), 200*time.Millisecond,
			time.Minute)
		assert.Empty(t, gauges(t, reader), "nothing is known yet")
		wg.Go(func() { assert.NoError(t, w.Run(ctx)) })
	}

	await := func(what string, holds func(map[string]float64) bool) {
		t.Helper()
		for _, reader := range readers {
			require.Eventually(t, func() bool { return holds(gauges(t, reader)) }, 20*time.Second, 20*time.Millisecond, what)
		}
	}
	await("all is well", func(g map[string]float64) bool {
		_, known := g[slip]
		return g["conservation_finished_timestamp"] > 0 && g["conservation_duration"] > 0 && len(g) == 25 && known && g[slip] == 0
	})
	mysqltest.Corrupt(t, s.wms, "UPDATE delivery_slip SET status = 'CANCELED' WHERE status = 'CREATED'")
	await("two slips are wrong", func(g map[string]float64) bool { return g[slip] == 2 })
	called := func() string {
		return mysqltest.Dump(t, s.order, "SELECT subject FROM mq_outbox WHERE topic = 'alert-events' ORDER BY id")
	}
	require.Eventually(t, func() bool { return strings.Contains(called(), "order/books/"+slip) }, 20*time.Second, 20*time.Millisecond)

	// While a service is away the books cannot be checked: the metrics call nothing right or wrong, and their age tells.
	s.peers["credit"].kill()
	begins := func() {
		t.Helper()
		began := func() string { return mysqltest.Dump(t, s.order, "SELECT began_at FROM conservation") }
		last := began()
		require.Eventually(t, func() bool { return began() != last }, 20*time.Second, 20*time.Millisecond)
	}
	begins() // the check under way may have read credit before
	begins()
	before := gauges(t, readers[0])
	begins()
	begins()
	assert.Equal(t, before, gauges(t, readers[0]))
	assert.Equal(t, before, gauges(t, readers[1]))
	assert.Equal(t, 1, strings.Count(called(), slip), "people are called once, not at each check, and not by each instance")
}

// gauges reads the metrics: violations by check, the others by their names.
func gauges(t *testing.T, reader *sdk.ManualReader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	g := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					name, _ := p.Attributes.Value("check")
					g[name.AsString()] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					g[m.Name] = p.Value
				}
			}
		}
	}
	return g
}
