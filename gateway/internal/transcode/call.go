package transcode

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	idempotencyv1 "example.com/fourfold/api/idempotency/v1"
	"example.com/fourfold/chassis/service"
)

// forwarded are the request's headers that reach the services, as metadata. No others do; the caller's address is the gateway's word.
var forwarded = []string{"authorization", "idempotency-key", "x-request-id"}

// Upstream is a service behind the gateway: the proto file with its RPCs, and the connection to it.
type Upstream struct {
	File protoreflect.FileDescriptor
	Conn grpc.ClientConnInterface
}

// Register makes srv serve every route of upstreams. srv's middleware runs around each call, with the RPC's name as its operation, before the
// request is read. It fails as Routes does.
func Register(srv *khttp.Server, upstreams ...Upstream) error {
	var files []protoreflect.FileDescriptor
	conns := map[string]grpc.ClientConnInterface{}
	for _, u := range upstreams {
		files = append(files, u.File)
		conns[u.File.Path()] = u.Conn
	}
	routes, err := Routes(files...)
	if err != nil {
		return err
	}
	router := srv.Route("/")
	for _, r := range routes {
		router.Handle(r.Method, r.Path, r.handler(conns[r.RPC.ParentFile().Path()]))
	}
	return nil
}

func (r Route) handler(conn grpc.ClientConnInterface) khttp.HandlerFunc {
	return func(ctx khttp.Context) error {
		r.Announce(ctx, r.Path)
		var (
			out  proto.Message
			code int
		)
		guarded := ctx.Middleware(func(c context.Context, _ any) (any, error) {
			call, err := NewCall(r, ctx, conn)
			if err != nil {
				return nil, err
			}
			out, code, err = call.Make(c)
			return out, err
		})
		if _, err := guarded(ctx, nil); err != nil {
			return err
		}
		body, err := JSON(out)
		if err != nil {
			return err
		}
		return ctx.Blob(code, "application/json", append(body, '\n'))
	}
}

// Announce makes r's RPC the operation of ctx, for the middleware, and names its span by path.
func (r Route) Announce(ctx khttp.Context, path string) {
	khttp.SetOperation(ctx, r.Operation)
	span := trace.SpanFromContext(ctx)
	span.SetName(r.Method + " " + path)
	span.SetAttributes(attribute.String("http.route", path))
}

// Call is a call of an RPC as a request asks for it. It can be made any number of times.
type Call struct {
	route Route
	conn  grpc.ClientConnInterface
	in    proto.Message
	md    metadata.MD
}

// NewCall reads ctx's request as a call of r. Its errors are 400, naming the field, or 413.
func NewCall(r Route, ctx khttp.Context, conn grpc.ClientConnInterface) (*Call, error) {
	in, err := r.bind(ctx.Vars(), ctx.Request())
	if err != nil {
		return nil, err
	}
	md, err := forward(ctx.Header())
	if err != nil {
		return nil, err
	}
	return &Call{r, conn, in, md}, nil
}

// Make makes the call and returns the reply and the HTTP code of its success. Its errors are those that the gateway answers.
func (c *Call) Make(ctx context.Context) (proto.Message, int, error) {
	var header metadata.MD
	out := c.route.out.New().Interface()
	md := c.md
	if address := service.Address(ctx); address != "" {
		md = md.Copy()
		md.Set(service.AddressHeader, address)
	}
	err := c.conn.Invoke(metadata.NewOutgoingContext(ctx, md), c.route.Operation, c.in, out, grpc.Header(&header))
	return out, successCode(header), c.route.answer(err)
}

// JSON returns m as the gateway writes it.
func JSON(m proto.Message) ([]byte, error) { return encode(m.ProtoReflect()) }

func forward(h http.Header) (metadata.MD, error) {
	md := metadata.MD{}
	for _, name := range forwarded {
		value := h.Get(name)
		if value == "" {
			continue
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			return nil, invalid(name, "this header may have printable ASCII characters only")
		}
		md.Set(name, value)
	}
	return md, nil
}

func successCode(header metadata.MD) int {
	if v := header.Get(service.CodeHeader); len(v) == 1 {
		if code, err := strconv.Atoi(v[0]); err == nil && code >= 200 && code < 300 {
			return code
		}
	}
	return http.StatusOK
}

// answer turns the error of an RPC into the error to answer. The service's own error (it has an ErrorInfo) keeps reason, message and metadata.
// An error that gRPC made means that the service was not reached or answered late: 503. An error that the service had no answer for stays a 5xx,
// whose text must not be shown.
func (r Route) answer(err error) error {
	if err == nil {
		return nil
	}
	e := kerrors.FromError(err).WithCause(err)
	code := status.Code(err)
	switch {
	case e.Reason != "":
		if declared, ok := r.declared(e.Reason); ok {
			e.Code = declared
		}
	case code == codes.Unavailable, code == codes.Canceled:
		return kerrors.ServiceUnavailable("UPSTREAM_UNAVAILABLE", r.service()+" cannot be reached right now: "+r.advice()).WithCause(err)
	case code == codes.DeadlineExceeded:
		return kerrors.ServiceUnavailable("UPSTREAM_TIMEOUT", r.service()+" did not answer in time: "+r.advice()).WithCause(err)
	case code == codes.ResourceExhausted:
		e.Code = http.StatusInternalServerError // a message over gRPC's limits, not a limit of ours
	default:
		e.Reason = strings.ToUpper(strings.ReplaceAll(http.StatusText(int(e.Code)), " ", "_"))
	}
	return e
}

// service returns the service's usual name: "order" of order.v1.Orders.
func (r Route) service() string {
	name, _, _ := strings.Cut(string(r.RPC.FullName()), ".")
	return name
}

func (r Route) advice() string {
	switch {
	case r.Method == http.MethodGet:
		return "try again"
	case service.NeedsKey(r.Operation):
		return "the call may have happened or not, so repeat it with the same Idempotency-Key"
	}
	return "the call may have happened or not, so look before you repeat it"
}

// declared returns the HTTP code that the service's ErrorReason declares for reason, or that of all calls with an Idempotency-Key. gRPC has no
// code for some (413, 422) and carries them as Unknown.
func (r Route) declared(reason string) (int32, bool) {
	for _, pkg := range []protoreflect.FullName{r.RPC.ParentFile().Package(), idempotencyv1.File_idempotency_v1_errors_proto.Package()} {
		if code, ok := declaredIn(pkg, reason); ok {
			return code, true
		}
	}
	return 0, false
}

func declaredIn(pkg protoreflect.FullName, reason string) (int32, bool) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(pkg.Append("ErrorReason"))
	if err != nil {
		return 0, false
	}
	enum, ok := d.(protoreflect.EnumDescriptor)
	if !ok {
		return 0, false
	}
	value := enum.Values().ByName(protoreflect.Name(reason))
	if value == nil || !proto.HasExtension(value.Options(), kerrors.E_Code) {
		return 0, false
	}
	code, ok := proto.GetExtension(value.Options(), kerrors.E_Code).(int32)
	return code, ok
}
