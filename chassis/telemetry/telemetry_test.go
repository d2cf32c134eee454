package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"example.com/fourfold/chassis/telemetry"
)

// logged returns one line as the handler writes it.
func logged(t *testing.T, write func(*slog.Logger)) map[string]any {
	t.Helper()
	var out bytes.Buffer
	write(slog.New(telemetry.Handler(slog.NewJSONHandler(&out, nil))).With("service", "x"))
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	delete(line, "time")
	return line
}

// TestLines: a line has its trace and what was noted, also by nested calls, once each.
func TestLines(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(recorder)).Tracer("x").Start(telemetry.Begin(t.Context()), "call")
	deeper, cancel := context.WithCancel(ctx)
	defer cancel()
	telemetry.Note(deeper, slog.String("order", "o1"), slog.String("gid", "g1"))
	telemetry.Note(deeper, slog.String("gid", "g2"))
	span.End()

	ids := map[string]any{"trace": span.SpanContext().TraceID().String(), "span": span.SpanContext().SpanID().String()}
	want := map[string]any{"level": "INFO", "msg": "m", "service": "x", "order": "o1", "gid": "g2"}
	for k, v := range ids {
		want[k] = v
	}
	assert.Equal(t, want, logged(t, func(l *slog.Logger) { l.InfoContext(ctx, "m") }))

	want["order"] = "its own"
	assert.Equal(t, want, logged(t, func(l *slog.Logger) { l.InfoContext(deeper, "m", "order", "its own") }))

	plain := map[string]any{"level": "INFO", "msg": "m", "service": "x"}
	assert.Equal(t, plain, logged(t, func(l *slog.Logger) { l.Info("m") }), "without a context")
	other := telemetry.Begin(ctx)
	for k, v := range ids {
		plain[k] = v
	}
	assert.Equal(t, plain, logged(t, func(l *slog.Logger) { l.InfoContext(other, "m") }), "another piece of work")

	attrs := map[string]string{}
	for _, a := range recorder.Ended()[0].Attributes() {
		attrs[string(a.Key)] = a.Value.AsString()
	}
	assert.Equal(t, map[string]string{"order": "o1", "gid": "g2"}, attrs)
	telemetry.Note(t.Context(), slog.String("nowhere", "to go")) // does not panic
}
