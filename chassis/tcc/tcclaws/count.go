package tcclaws

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

var (
	readerOnce sync.Once
	reader     *metric.ManualReader
)

// countPhases returns a function that reads the count of tcc_branch_phase_duration in this test binary.
func countPhases() func(t testing.TB, participant, phase, outcome string) int64 {
	readerOnce.Do(func() {
		reader = metric.NewManualReader()
		otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	})
	return func(t testing.TB, participant, phase, outcome string) int64 {
		t.Helper()
		var all metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &all))
		want := attribute.NewSet(
			attribute.String("participant", participant), attribute.String("phase", phase), attribute.String("outcome", outcome))
		var n int64
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				phases, ok := m.Data.(metricdata.Histogram[float64])
				if !ok || m.Name != "tcc_branch_phase_duration" {
					continue
				}
				for _, p := range phases.DataPoints {
					if p.Attributes.Equals(&want) {
						n += int64(p.Count)
					}
				}
			}
		}
		return n
	}
}
