package service

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/identity"
)

// hideFrame answers calls of the frame's own services as if they were not there: they tell whoever asks what is served here, and who is connected
// (reflection, channelz, metadata). Health stays: clients choose instances by it. No service of ours streams.
func hideFrame() []grpc.ServerOption {
	check := func(method string) error {
		name, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		if identity.OfFrame(name) && name != grpc_health_v1.Health_ServiceDesc.ServiceName {
			return status.Errorf(codes.Unimplemented, "unknown service %s", name) // as gRPC itself says
		}
		return nil
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := check(info.FullMethod); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := check(info.FullMethod); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	}
}
