// Package upstream connects the gateway to the services behind it.
package upstream

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"example.com/fourfold/chassis/tcc"
)

// Dial prepares a connection to addr (host:port). It connects at the first call, and after the service was away at the next
// one.
func Dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithUnaryInterceptor(tcc.ResetBackoff),
	)
}

// Ready asks the service behind conn whether it serves. The error says no more than outsiders may read.
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
