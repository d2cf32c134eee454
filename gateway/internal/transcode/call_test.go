package transcode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

// shop is all services at once: a real gRPC server that serves every RPC of the protos.
type shop struct {
	mu sync.Mutex
	// answer returns the reply; when it is nil the reply is a filled one.
	answer func(stream grpc.ServerStream, in proto.Message) (proto.Message, error)
	method string
	in     proto.Message
	header metadata.MD
}

func (s *shop) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(method[1:], "/", ".")))
	if err != nil {
		return status.Error(codes.Unimplemented, method)
	}
	rpc := d.(protoreflect.MethodDescriptor)
	in := newMessage(rpc.Input())
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.mu.Lock()
	s.method, s.in, s.header = method, in, md
	answer := s.answer
	s.mu.Unlock()
	out := filled(rpc.Output())
	if answer != nil {
		if out, err = answer(stream, in); err != nil {
			return err
		}
	}
	return stream.SendMsg(out)
}

// open runs a shop and the routes to it.
func open(t *testing.T) (*shop, *httptest.Server) {
	t.Helper()
	s := &shop{}
	server := grpc.NewServer(grpc.UnknownServiceHandler(s.handle))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	var upstreams []transcode.Upstream
	for _, file := range upstream.Files() {
		upstreams = append(upstreams, transcode.Upstream{File: file, Conn: conn})
	}
	srv := khttp.NewServer(khttp.StrictSlash(false))
	require.NoError(t, transcode.Register(srv, upstreams...))
	front := httptest.NewServer(srv)
	t.Cleanup(front.Close)
	return s, front
}

func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err)
	}
	return t.New().Interface()
}

// filled returns a message with something in every field, two in each list.
func filled(d protoreflect.MessageDescriptor) proto.Message {
	m := newMessage(d)
	fill(m.ProtoReflect())
	return m
}

func fill(m protoreflect.Message) {
	if m.Descriptor().FullName() == "google.protobuf.Timestamp" {
		m.Set(m.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(1769846400))
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value := func(empty func() protoreflect.Value) protoreflect.Value {
			n := int64(f.Number()) + 10
			switch f.Kind() {
			case protoreflect.MessageKind:
				v := empty()
				fill(v.Message())
				return v
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(f.Enum().Values().Get(1).Number())
			case protoreflect.StringKind:
				return protoreflect.ValueOfString("a " + string(f.Name()) + " ü")
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(true)
			case protoreflect.Int32Kind:
				return protoreflect.ValueOfInt32(int32(n))
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(n)
			}
			panic("a new kind of field: teach the test " + f.Kind().String())
		}
		if f.IsList() {
			list := m.Mutable(f).List()
			list.Append(value(list.NewElement))
			list.Append(value(list.NewElement))
			continue
		}
		m.Set(f, value(func() protoreflect.Value { return m.NewField(f) }))
	}
}

// request returns the HTTP form of in as a client of route would write it, made without the code under test.
func request(t *testing.T, front string, route transcode.Route, in proto.Message) *http.Request {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(in)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(text, &fields))
	path := route.Path
	for _, name := range route.PathFields() {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(fields[name].(string)))
		delete(fields, name)
	}
	var body io.Reader
	if route.HasBody() {
		text, err := json.Marshal(fields)
		require.NoError(t, err)
		body = bytes.NewReader(text)
	} else {
		query := url.Values{}
		for name, value := range fields {
			query.Set(name, fmt.Sprint(value))
		}
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), route.Method, front+path, body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	return req
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// TestEveryRoute tests every annotated RPC of every service there and back, so that a new one is tested from its first day.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	routes, err := transcode.Routes(upstream.Files()...)
	require.NoError(t, err)
	require.NotEmpty(t, routes)
	for _, route := range routes {
		t.Run(route.Method+" "+route.Path, func(t *testing.T) {
			t.Parallel()
			s, front := open(t)
			in, out := filled(route.RPC.Input()), filled(route.RPC.Output())
			code, body := do(t, request(t, front.URL, route, in))
			require.Equal(t, 200, code, body)
			assert.Equal(t, route.Operation, s.method)
			assert.True(t, proto.Equal(in, s.in), "the service got %v instead of %v", s.in, in)

			got := newMessage(route.RPC.Output())
			require.NoError(t, protojson.Unmarshal([]byte(body), got), body)
			assert.True(t, proto.Equal(out, got), "the client got %s instead of %v", body, out)
			assert.NotRegexp(t, `_cents":"|quantity":"|credit":"`, body, "whole numbers are JSON numbers")

			code, body = do(t, request(t, front.URL+"/nowhere", route, in))
			assert.Equal(t, 404, code, body)
		})
	}
}

func TestSuccessCode(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{"201": 201, "202": 202, "": 200, "404": 200, "abc": 200} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			s, front := open(t)
			s.answer = func(stream grpc.ServerStream, _ proto.Message) (proto.Message, error) {
				return &orderv1.Order{}, stream.SetHeader(metadata.Pairs("x-http-code", header))
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", front.URL+"/v1/orders/o1/pay", nil)
			require.NoError(t, err)
			code, body := do(t, req)
			assert.Equal(t, want, code, body)
			assert.Equal(t, "o1", s.in.(*orderv1.PayOrderRequest).Id)
		})
	}
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	s, front := open(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", front.URL+"/v1/orders", nil)
	require.NoError(t, err)
	for _, name := range []string{
		"Authorization", "Idempotency-Key", "Traceparent", "Dtm-Gid", "X-Branch-Mac-01", "X-Call-Mac", "X-Md-Global-User", "Cookie",
	} {
		req.Header.Set(name, "v-"+name)
	}
	code, body := do(t, req)
	require.Equal(t, 200, code, body)
	for name, want := range map[string][]string{
		"authorization": {"v-Authorization"}, "idempotency-key": {"v-Idempotency-Key"}, "traceparent": nil,
		"dtm-gid": nil, "x-branch-mac-01": nil, "x-call-mac": nil, "x-md-global-user": nil, "cookie": nil,
	} {
		assert.Equal(t, want, s.header.Get(name), name)
	}

	req.Header.Set("Idempotency-Key", "ключ")
	code, body = do(t, req)
	assert.Equal(t, 400, code, body)
	assert.Contains(t, body, "idempotency-key")
}
