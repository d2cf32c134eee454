package tcc

import (
	"context"
	"path"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/mac"
)

// Call is one call of a branch.
type Call struct {
	// GID names the transaction, Branch the branch in it: "01", "02" …
	GID, Branch string
	Phase       Phase
	// Service is the full name of the gRPC service that is called: wms.v1.DeliverySlip.
	Service string
	// Subject is what the transaction is about, for example an order's id.
	Subject string
	// Payload is the request, in the bytes that are sent.
	Payload []byte
}

// macHeader returns the header that carries the MAC of a call of branch. Each branch has its own, because the coordinator sends the headers of
// all branches to each of them.
func macHeader(branch string) string { return "x-branch-mac-" + branch }

// class says what the MAC of a call of the phase is good for: a Try's is good for no other phase. Confirm and Cancel share one, because the
// coordinator keeps the same headers for both.
func (p Phase) class() string {
	if p == Try {
		return "try"
	}
	return "decided"
}

// parts returns what the call's MAC is made over: all that a participant acts on.
func (c Call) parts() []string {
	return []string{c.Phase.class(), c.GID, c.Branch, c.Service, c.Subject, string(c.Payload)}
}

// Headers returns the headers with which the call is sent, signed with the first of keys.
func (c Call) Headers(keys mac.Keys) map[string]string {
	return map[string]string{"dtm-gid": c.GID, "dtm-trans_type": "tcc", "dtm-branch_id": c.Branch, "dtm-op": string(c.Phase),
		macHeader(c.Branch): keys.Sign(c.parts()...)}
}

// send makes the call, of method, over conn.
func (c Call) send(ctx context.Context, conn grpc.ClientConnInterface, method string, keys mac.Keys) error {
	for name, value := range c.Headers(keys) {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return conn.Invoke(ctx, method, encoded(c.Payload), new(emptypb.Empty), grpc.ForceCodecV2(newCodec()), grpc.StaticMethod())
}

// serviceOf returns the service of a method's full name.
func serviceOf(method string) string { return strings.TrimPrefix(path.Dir(method), "/") }

// LocalContext returns the context for calling a handler of a branch in this process, as if a server had received the payload with headers for
// service.
func LocalContext(ctx context.Context, service string, payload []byte, headers map[string]string) context.Context {
	ctx = metadata.NewIncomingContext(ctx, metadata.New(headers))
	return context.WithValue(ctx, receivedKey{}, &received{service: service, payload: payload})
}

// header returns the first value of an incoming header, "" when there is none.
func header(md metadata.MD, name string) string {
	if v := md.Get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// callFrom returns the call that ctx belongs to, all but its subject, and the MAC that came with it. ok is false when its handler was not
// registered by Registrar, so that nobody knows what was received.
func callFrom(ctx context.Context) (c Call, mac string, ok bool) {
	r, ok := ctx.Value(receivedKey{}).(*received)
	if !ok {
		return Call{}, "", false
	}
	md, _ := metadata.FromIncomingContext(ctx)
	c = Call{GID: header(md, "dtm-gid"), Branch: header(md, "dtm-branch_id"), Phase: Phase(header(md, "dtm-op")),
		Service: r.service, Payload: r.payload}
	return c, header(md, macHeader(c.Branch)), true
}
