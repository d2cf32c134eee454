// Package telemetry makes a process observable: traces over OTLP, metrics for Prometheus, and log lines that carry the ids by which they are
// found: the trace, and what a request's code notes about it, for example order and gid.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
)

// Setup installs the global providers of package otel. Metrics go to Prometheus' default registry. Spans are exported by OTLP over HTTP when
// OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, for example to http://127.0.0.1:4318; the SDK's other variables,
// OTEL_TRACES_SAMPLER among them, count too. Without an endpoint nothing is recorded, but there still are trace ids, so that log lines of all
// services can be joined.
//
// shutdown exports the remaining spans. It is never nil.
func Setup(ctx context.Context, name string) (shutdown func(context.Context) error, err error) {
	exporter, err := prometheus.New()
	if err != nil {
		return none, err
	}
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter)))
	otel.SetTextMapPropagator(propagation.TraceContext{})

	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSampler(trace.NeverSample())))
		return none, nil
	}
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return none, fmt.Errorf("traces: OTEL_EXPORTER_OTLP_ENDPOINT is a URL such as http://127.0.0.1:4318: %w", err)
	}
	about, err := resource.New(ctx, resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", name),
		attribute.String("service.namespace", "fourfold"),
		attribute.String("service.instance.id", strconv.Itoa(os.Getpid()))), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return none, err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(spans), trace.WithResource(about))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

func none(context.Context) error { return nil }

// Server returns the option with which a gRPC server continues the trace of each call and counts it (rpc_server_call_duration_seconds by method
// and status). Health checks are left out.
func Server() grpc.ServerOption {
	return grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithFilter(filters.Not(filters.HealthCheck()))))
}

// Client returns the option with which a connection passes on the trace with each call and counts it (rpc_client_call_duration_seconds).
func Client() grpc.DialOption {
	return grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithFilter(filters.Not(filters.HealthCheck()))))
}
