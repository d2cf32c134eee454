package main

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// TestEveryAttemptIsASpan: a call that fails and its repetition are two spans under the initiator's, and the participant gets that of the
// attempt.
func TestEveryAttemptIsASpan(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSyncer(exporter)))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	const initiator = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := metadata.AppendToOutgoingContext(context.Background(),
		"dtm-gid", "g1", "dtm-branch_id", "04", "dtm-op", "confirm", "traceparent", initiator)

	var told []string
	for _, failure := range []error{errors.New("not now"), nil} {
		err := traced(ctx, "/wms.v1.DeliverySlip/Confirm", nil, nil, nil,
			func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				md, _ := metadata.FromOutgoingContext(ctx)
				told = append(told, md.Get("traceparent")...)
				if got := md.Get("dtm-gid"); len(got) != 1 || got[0] != "g1" {
					t.Errorf("dtm-gid %v: the call must keep its headers", got)
				}
				return failure
			})
		if !errors.Is(err, failure) {
			t.Fatalf("got %v", err)
		}
	}

	spans := exporter.GetSpans()
	if len(spans) != 2 || len(told) != 2 {
		t.Fatalf("%d spans, %d traceparents", len(spans), len(told))
	}
	for i, want := range []codes.Code{codes.Error, codes.Unset} {
		s := spans[i]
		id := s.SpanContext
		if s.Name != "wms.v1.DeliverySlip/Confirm" || s.Status.Code != want || s.Parent.SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("attempt %d: %s, %v, parent %s", i, s.Name, s.Status, s.Parent.SpanID())
		}
		if wrote := "00-0af7651916cd43dd8448eb211c80319c-" + id.SpanID().String() + "-01"; told[i] != wrote {
			t.Errorf("attempt %d: told %s, is %s", i, told[i], wrote)
		}
	}
}
