package instances

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// patience is how long a call waits for a connection.
const patience = 250 * time.Millisecond

// reconnect is a client interceptor: when nobody could be reached at the last attempt it tries to connect now before the call is
// sent; gRPC would answer from its pause that the server is away although it is back. The same when the last living instance
// went away before it got the call and another one is just back. No call that was sent is repeated.
func reconnect(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if cc.GetState() == connectivity.TransientFailure && !Connected(ctx, cc) {
		return invoke(ctx, method, req, reply, cc, opts...) // which says why
	}
	var to peer.Peer // stays empty while the call has not left this process
	err := invoke(ctx, method, req, reply, cc, append(slices.Clip(opts), grpc.Peer(&to))...)
	if status.Code(err) != codes.Unavailable || to.Addr != nil || !Connected(ctx, cc) {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// Connected connects now, whatever gRPC's pauses, and tells whether somebody can be called. It takes 250 ms at most.
func Connected(ctx context.Context, cc *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cc.ResetConnectBackoff()
	for state := cc.GetState(); state != connectivity.Ready; state = cc.GetState() {
		if state == connectivity.Idle {
			cc.Connect()
		}
		if !cc.WaitForStateChange(ctx, state) {
			return false
		}
	}
	return true
}
