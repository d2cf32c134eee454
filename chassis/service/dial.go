package service

import (
	"fmt"

	"google.golang.org/grpc"

	"example.com/fourfold/chassis/endpoints"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/telemetry"
)

// Dial prepares a connection to another service at host:port, or to its instances at host:port,host:port, which are called in turn; the zero tls
// is none. It connects with the first call. A service that is back is used at once, not after gRPC's growing pause. A call that was sent is not
// repeated.
func Dial(addr string, tls mtls.Config) (*grpc.ClientConn, error) {
	target, err := endpoints.Target(addr)
	if err != nil {
		return nil, err
	}
	creds, err := tls.Credentials()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(target, append(endpoints.Options(),
		grpc.WithTransportCredentials(creds),
		telemetry.Client())...)
	if err != nil {
		return nil, fmt.Errorf("service at %q: %w", addr, err)
	}
	return conn, nil
}
