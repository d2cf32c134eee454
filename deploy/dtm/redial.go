package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/endpoints"
)

// redialPause is how often an instance that is away is dialed while others answer.
const redialPause = time.Second

// redialer holds the state of the interceptor call.
type redialer struct {
	last sync.Map // when the back-off of a *grpc.ClientConn was last cut short
}

// call is an interceptor of the calls to the branches. When a call fails as Unavailable, it dials anew at once and, if an instance answers,
// calls once more. By itself gRPC fails during its growing back-off (up to two minutes) without dialing, and the transaction's next attempt may
// be far away too. Confirm and Cancel may be repeated at any time. An instance that is back is used again even while the others answer.
func (r *redialer) call(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption) error {
	now := time.Now()
	if last, _ := r.last.LoadOrStore(cc, now); now.Sub(last.(time.Time)) > redialPause && r.last.CompareAndSwap(cc, last, now) {
		cc.ResetConnectBackoff()
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if status.Code(err) != codes.Unavailable || !endpoints.Connect(ctx, cc) {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}
