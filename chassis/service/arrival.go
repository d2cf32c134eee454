package service

import (
	"context"

	"google.golang.org/grpc"
)

type arrivalKey struct{}

// Arrived returns a copy of ctx for which Arrival returns ctx.
func Arrived(ctx context.Context) context.Context { return context.WithValue(ctx, arrivalKey{}, ctx) }

// Arrival returns the context with which the call came in: it ends when the caller leaves or its deadline passes, whatever grpc.timeout is. It
// is for the few calls that take longer than a service allows the others. Outside a call it returns ctx.
func Arrival(ctx context.Context) context.Context {
	if arrival, ok := ctx.Value(arrivalKey{}).(context.Context); ok {
		return arrival
	}
	return ctx
}

// arrive is the outermost interceptor: Kratos' own, which comes next, sets the time-out.
func arrive(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(Arrived(ctx), req)
}
