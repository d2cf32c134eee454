// Package instances reaches a service that runs more than once: its address is a list, and calls go to all that live.
package instances

import (
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/balancer/roundrobin" // the policy that Resolver asks for
	"google.golang.org/grpc/resolver"
)

// Split gives the addresses of a list "host:port,host:port", or of one.
func Split(list string) ([]string, error) {
	var addrs []string
	for part := range strings.SplitSeq(list, ",") {
		addr := strings.TrimSpace(part)
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
			return nil, fmt.Errorf("the address %q is not host:port, nor several of that with commas between", list)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// Target is what to give to grpc.NewClient for a list of addresses, together with Options. A list that is none is an error.
func Target(list string) (string, error) {
	_, err := Split(list)
	return Resolver{}.Scheme() + ":///" + list, err
}

// Options let a connection call all instances in turn and leave out those that are away. One that is back is found within
// about a second, also while others answer. Failed calls are not repeated.
func Options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithResolvers(Resolver{}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// gRPC's own pause grows to two minutes, and with it the time in which one instance carries the load of two.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
	}
}

// Resolver makes gRPC understand a list of addresses, and call them in turn. Names are looked up with each connection.
type Resolver struct{}

// Scheme is that of the targets.
func (Resolver) Scheme() string { return "instances" }

// Build implements resolver.Builder.
func (Resolver) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	addrs, err := Split(target.Endpoint())
	if err != nil {
		return nil, err
	}
	state := resolver.State{ServiceConfig: cc.ParseServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`)}
	for _, addr := range addrs {
		// An instance hears its own name, not the whole list.
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: addr}}})
	}
	return fixed{}, cc.UpdateState(state)
}

// fixed is the resolver of a list, which never changes.
type fixed struct{}

func (fixed) ResolveNow(resolver.ResolveNowOptions) {}

func (fixed) Close() {}
