package tcc_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/tcc"
)

// listener keeps the request of Prepare.
type listener struct {
	dtmgpb.UnimplementedDtmServer
	said chan *dtmgpb.DtmRequest
}

func (l listener) Prepare(_ context.Context, req *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	l.said <- req
	return &emptypb.Empty{}, nil
}

// TestTraceStaysWithTheTransaction: the branch headers that the coordinator gets, and calls every Confirm and Cancel with, hold the caller's
// span beside the MAC.
func TestTraceStaysWithTheTransaction(t *testing.T) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener{said: make(chan *dtmgpb.DtmRequest, 1)}
	srv := grpc.NewServer()
	dtmgpb.RegisterDtmServer(srv, l)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	keys, err := tcc.ParseKeys("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	c, err := tcc.Dial(lis.Addr().String(), "http://127.0.0.1:1", keys)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })

	ctx, span := trace.NewTracerProvider().Tracer("x").Start(t.Context(), "checkout")
	defer span.End()
	_, err = c.Prepare(ctx, "g1", "o1", 8*time.Second)
	require.NoError(t, err)
	id := span.SpanContext()
	assert.Equal(t, map[string]string{
		"traceparent":  "00-" + id.TraceID().String() + "-" + id.SpanID().String() + "-01",
		"x-branch-mac": keys.Sign("g1", "o1"),
	}, (<-l.said).GetTransOptions().GetBranchHeaders())
}
