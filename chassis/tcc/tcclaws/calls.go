package tcclaws

import (
	"context"
	"net"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
)

// branchID is the branch's id in every transaction of the laws.
const branchID = "01"

// Calls call a branch over gRPC, as order and the coordinator do.
type Calls struct {
	service string
	branch  any
	request func(subject string) proto.Message
	conn    *grpc.ClientConn
	// local is the Try of a branch that has none over gRPC.
	local func(ctx context.Context, subject string) error
}

// Serve serves branch, an implementation of service, until the test ends. request returns the branch's request about a subject.
func Serve[R proto.Message](t testing.TB, service *grpc.ServiceDesc, branch any, request func(subject string) R) *Calls {
	t.Helper()
	server := grpc.NewServer(tcc.ServerOption())
	tcc.Registrar(server).RegisterService(service, branch)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &Calls{service: service.ServiceName, branch: branch, conn: conn,
		request: func(subject string) proto.Message { return request(subject) }}
}

// TriedBy sets the Try of a branch that is tried in the process of its transaction's initiator, under tcc.LocalContext, and returns c.
func (c *Calls) TriedBy(try func(ctx context.Context, subject string) (held bool, err error)) *Calls {
	c.local = func(ctx context.Context, subject string) error {
		_, err := try(ctx, subject)
		return err
	}
	return c
}

// Deliver calls one phase, "try", "confirm" or "cancel", with request, which is about subject, as order or the coordinator would.
func (c *Calls) Deliver(ctx context.Context, keys mac.Keys, op, gid, subject string, request proto.Message) error {
	call := c.call(op, gid, subject, request)
	return c.send(ctx, call, call.Headers(keys))
}

func (c *Calls) call(op, gid, subject string, request proto.Message) tcc.Call {
	payload, err := proto.Marshal(request)
	if err != nil {
		panic(err)
	}
	return tcc.Call{GID: gid, Branch: branchID, Phase: tcc.Phase(op), Service: c.service, Subject: subject, Payload: payload}
}

// methods are the branch's methods by phase.
var methods = map[tcc.Phase]string{tcc.Try: "Try", tcc.Confirm: "Confirm", tcc.Cancel: "Cancel"}

// send calls the method of call's phase with its payload, and with headers whatever they say.
func (c *Calls) send(ctx context.Context, call tcc.Call, headers map[string]string) error {
	codec := raw{encoding.GetCodecV2(encodingproto.Name), "dtm_raw"} // as the coordinator calls it
	if call.Phase == tcc.Try {
		if c.local != nil {
			return c.local(tcc.LocalContext(ctx, c.service, call.Payload, headers), call.Subject)
		}
		codec.name = encodingproto.Name
	}
	return c.conn.Invoke(metadata.NewOutgoingContext(ctx, metadata.New(headers)), "/"+c.service+"/"+methods[call.Phase], call.Payload,
		new(emptypb.Empty), grpc.ForceCodecV2(codec))
}

// direct calls the handler of call's phase in this goroutine.
func (c *Calls) direct(call tcc.Call, keys mac.Keys) error {
	ctx := tcc.LocalContext(context.Background(), c.service, call.Payload, call.Headers(keys))
	if call.Phase == tcc.Try && c.local != nil {
		return c.local(ctx, call.Subject)
	}
	request := c.request(call.Subject)
	proto.Reset(request)
	if err := proto.Unmarshal(call.Payload, request); err != nil {
		return err
	}
	out := reflect.ValueOf(c.branch).MethodByName(methods[call.Phase]).Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(request)})
	err, _ := out[1].Interface().(error)
	return err
}

// raw is a codec that sends bytes as they are.
type raw struct {
	encoding.CodecV2
	name string
}

func (c raw) Name() string { return c.name }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
