// Package upstream lists the services behind the gateway and asks whether they serve.
package upstream

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// Ready returns a check that asks the service behind conn whether it serves. The error says no more than outsiders may read.
func Ready(conn *grpc.ClientConn) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		reply, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
		if err != nil {
			return errors.New("does not answer")
		}
		if reply.Status != healthv1.HealthCheckResponse_SERVING {
			return errors.New("is not serving")
		}
		return nil
	}
}
