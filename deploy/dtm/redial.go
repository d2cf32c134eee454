package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// redialPatience is how long a call waits for a new connection before it reports that the participant is away. A recovery
// worker is held up that long by each call to a dead participant.
const redialPatience = 200 * time.Millisecond

// redial is an interceptor of the calls to the branches: when one fails as Unavailable it dials anew at once and, if somebody
// answers, calls once more. By itself gRPC answers from its growing back-off (up to two minutes) without looking, and the
// transaction's next attempt may be far away too. Confirm and Cancel may be repeated at any time.
func redial(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if status.Code(err) != codes.Unavailable || !connected(ctx, cc) {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// connected dials without regard to the back-off and tells whether that gave a connection.
func connected(ctx context.Context, cc *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, redialPatience)
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
