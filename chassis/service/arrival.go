package service

import (
	"context"

	"google.golang.org/grpc"
)

type arrivalKey struct{}

// Arrived marks ctx as that of a call's arrival.
func Arrived(ctx context.Context) context.Context { return context.WithValue(ctx, arrivalKey{}, ctx) }

// Arrival gives the context with which the call came in: it ends when the caller leaves or his deadline passes, whatever
// grpc.timeout is. It is for the few calls that take longer than a service gives to the others. Without a call it is ctx.
func Arrival(ctx context.Context) context.Context {
	if arrival, ok := ctx.Value(arrivalKey{}).(context.Context); ok {
		return arrival
	}
	return ctx
}

// arrive is the outermost interceptor: Kratos' own sets the time-out.
func arrive(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(Arrived(ctx), req)
}
