// Package endpoints connects to a service that runs more than once: its address is a list, and calls go to all instances that are alive.
package endpoints

import (
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/balancer/roundrobin" // the policy that Resolver asks for
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
)

// split returns the addresses of list, "host:port,host:port" or only one.
func split(list string) ([]string, error) {
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

// Target returns the target for grpc.NewClient of a list of addresses; use it together with Options. It fails when list is not addresses
// separated by commas.
func Target(list string) (string, error) {
	_, err := split(list)
	return Resolver{}.Scheme() + ":///" + list, err
}

// Options returns the options with which a connection calls all instances in turn and leaves out those that are away. An instance that is back
// is found within about a second, even while others answer; one that falls silent is left out after KeepAlive's time. A call that was sent is
// not repeated.
func Options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithResolvers(Resolver{}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// gRPC's own pause grows to two minutes, and so would the time in which one instance carries the load of two.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithUnaryInterceptor(reconnect),
		KeepAlive(),
	}
}

// KeepAlive returns the option with which a connection notices that its server is frozen or cut off: during a call, after 10 s without a word
// (gRPC's least), it pings the server and waits 2 s for the answer. The server must be made with AllowKeepAlive.
func KeepAlive() grpc.DialOption {
	return grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second})
}

// AllowKeepAlive returns the option with which a server answers the pings of KeepAlive. Without it gRPC takes them for an attack.
func AllowKeepAlive() grpc.ServerOption {
	return grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second})
}

// Resolver makes gRPC understand a list of addresses and call them in turn. Names are looked up anew with each connection.
type Resolver struct{}

// Scheme implements resolver.Builder.
func (Resolver) Scheme() string { return "instances" }

// Build implements resolver.Builder.
func (Resolver) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	addrs, err := split(target.Endpoint())
	if err != nil {
		return nil, err
	}
	state := resolver.State{ServiceConfig: cc.ParseServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`)}
	for _, addr := range addrs {
		// An instance is told its own name, not the whole list.
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: addr}}})
	}
	return fixed{}, cc.UpdateState(state)
}

// fixed is the resolver of a list, which never changes.
type fixed struct{}

func (fixed) ResolveNow(resolver.ResolveNowOptions) {}

func (fixed) Close() {}
