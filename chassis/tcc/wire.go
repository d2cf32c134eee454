package tcc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// A MAC is made over the bytes that are sent and checked over the bytes that were received: two programs may encode one message differently, and
// an encoding may hold what only one of them knows. So the initiator sends bytes that it has encoded once, and a participant's server keeps what
// it decodes.

// ServerOption lets a server keep the bytes of requests to what was registered by Registrar, which cannot be called without it. It also lets it
// read the coordinator's calls: they are plain protobuf, whatever they are called (content-subtype dtm_raw).
func ServerOption() grpc.ServerOption { return grpc.ForceServerCodecV2(newCodec()) }

// Registrar returns a registrar for the branches of server, which must have ServerOption: a Participant refuses calls that came another way.
func Registrar(server grpc.ServiceRegistrar) grpc.ServiceRegistrar { return registrar{server} }

type registrar struct{ server grpc.ServiceRegistrar }

// RegisterService registers the service, with handlers that get the bytes of the request in their context.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	keeping := *desc
	keeping.Methods = slices.Clone(desc.Methods)
	for i, m := range desc.Methods {
		keeping.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, use grpc.UnaryServerInterceptor) (any, error) {
			request := &received{service: desc.ServiceName}
			return m.Handler(srv, context.WithValue(ctx, receivedKey{}, request), func(message any) error {
				request.message = message
				return decode(request)
			}, use)
		}
	}
	r.server.RegisterService(&keeping, impl)
}

// receivedKey is the context key of the call's *received.
type receivedKey struct{}

// received is a request as it came: the service that was called, the bytes, and the message to decode them into.
type received struct {
	service string
	payload []byte
	message any
}

// encoded is a request that was encoded before.
type encoded []byte

// codec is gRPC's codec for protobuf, which also sends what is encoded already, and keeps the bytes of what is received.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(encodingproto.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if payload, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(payload)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	request, ok := v.(*received)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	request.payload = data.Materialize()
	return c.CodecV2.Unmarshal(data, request.message)
}
