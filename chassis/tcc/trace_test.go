package tcc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
)

// TestTraceStaysWithTheTransaction: the branch headers that the coordinator gets, and calls every Confirm and Cancel with, hold the caller's
// span beside the MAC.
func TestTraceStaysWithTheTransaction(t *testing.T) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	l := newLog(t)
	c := l.dial(t, "k1:00112233445566778899aabbccddeeff")

	ctx, span := trace.NewTracerProvider().Tracer("x").Start(t.Context(), "checkout")
	defer span.End()
	_, err := c.Prepare(ctx, "g1", "o1", 8*time.Second, branchOf("01", "o1"))
	require.NoError(t, err)
	id, kept := span.SpanContext(), l.last().GetTransOptions().GetBranchHeaders()
	assert.Equal(t, "00-"+id.TraceID().String()+"-"+id.SpanID().String()+"-01", kept["traceparent"])
	assert.Len(t, kept, 2)
	assert.NotEmpty(t, kept["x-branch-mac-01"])
}
