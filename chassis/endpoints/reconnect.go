package endpoints

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

// reconnect is a client interceptor. When the last attempt reached no instance, it connects before it sends the call: gRPC, in its pause, would
// answer that the server is away although it is back. It does the same when the last living instance went away before it got the call, as
// another one may be just back. No call that was sent is repeated.
func reconnect(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption) error {
	if cc.GetState() == connectivity.TransientFailure && !Connect(ctx, cc) {
		return invoke(ctx, method, req, reply, cc, opts...) // which says why
	}
	var to peer.Peer // stays empty while the call has not left this process
	err := invoke(ctx, method, req, reply, cc, append(slices.Clip(opts), grpc.Peer(&to))...)
	if status.Code(err) != codes.Unavailable || to.Addr != nil || !Connect(ctx, cc) {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// Connect connects now, regardless of gRPC's pauses, and reports whether an instance can be called. It takes at most 250 ms.
func Connect(ctx context.Context, cc *grpc.ClientConn) bool {
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
