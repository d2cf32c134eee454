package main

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/telemetry"
)

// traced is an interceptor of the calls to the branches: each Confirm and Cancel, and each repetition, is a span of the transaction's trace,
// whose traceparent the initiator left in the branch headers. Failures are logged.
func traced(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()
	ctx = telemetry.Begin(otel.GetTextMapPropagator().Extract(ctx, carrier(md)))
	ctx, span := otel.Tracer("example.com/fourfold/deploy/dtm").Start(ctx, strings.TrimPrefix(method, "/"),
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("branch", carrier(md).Get("dtm-branch_id")), attribute.String("phase", carrier(md).Get("dtm-op"))))
	defer span.End()
	telemetry.Note(ctx, slog.String("gid", carrier(md).Get("dtm-gid")))
	otel.GetTextMapPropagator().Inject(ctx, carrier(md))

	err := invoke(metadata.NewOutgoingContext(ctx, md), method, req, reply, cc, opts...)
	if err != nil {
		span.SetStatus(codes.Error, status.Code(err).String())
		slog.WarnContext(ctx, "branch call failed", "call", method, "err", err)
	}
	return err
}

// carrier is a call's metadata as a propagator's carrier.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
