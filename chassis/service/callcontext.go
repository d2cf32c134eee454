package service

import (
	"context"

	"google.golang.org/grpc"
)

type callContextKey struct{}

// WithCallContext returns a copy of ctx for which CallContext returns ctx.
func WithCallContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, callContextKey{}, ctx)
}

// CallContext returns the context with which the call came in: it ends when the caller leaves or its deadline passes, whatever grpc.timeout
// is. It is for the few calls that take longer than a service allows the others. Outside a call it returns ctx.
func CallContext(ctx context.Context) context.Context {
	if arrival, ok := ctx.Value(callContextKey{}).(context.Context); ok {
		return arrival
	}
	return ctx
}

// withCallContext is the outermost interceptor: Kratos' own, which comes next, sets the time-out.
func withCallContext(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(WithCallContext(ctx), req)
}
