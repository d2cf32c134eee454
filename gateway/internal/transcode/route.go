// Package transcode serves gRPC methods over HTTP/JSON as their (google.api.http) annotations say, by reflection: an RPC that is added to a
// proto with an annotation is served without a line of code here.
package transcode

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
)

// Route is one HTTP binding of an RPC.
type Route struct {
	// Method and Path are the annotation's: "POST", "/v1/orders/{id}/pay".
	Method, Path string
	// Operation is the RPC's name on the wire: "/order.v1.Orders/PayOrder".
	Operation string
	RPC       protoreflect.MethodDescriptor

	// body is "*" when the request's JSON body holds all fields except those of the path, a field's name when it holds that field, and empty
	// when there is no body.
	body    string
	in, out protoreflect.MessageType
}

var variable = regexp.MustCompile(`\{([^}]*)\}`)

// Routes returns the routes of all annotated RPCs in files, those with literal segments before those with variables in the same place
// (/v1/members/me before /v1/members/{id}). It fails for an annotation that could not be served as it reads, and when two RPCs claim one route.
func Routes(files ...protoreflect.FileDescriptor) ([]Route, error) {
	var routes []Route
	for rpc := range rpcs(files) {
		rule, _ := proto.GetExtension(rpc.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			continue
		}
		for _, r := range append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...) {
			route, err := newRoute(rpc, r)
			if err != nil {
				return nil, fmt.Errorf("(google.api.http) of %s: %w", rpc.FullName(), err)
			}
			routes = append(routes, route)
		}
	}
	slices.SortFunc(routes, func(a, b Route) int { return slices.Compare(a.order(), b.order()) })
	for i := 1; i < len(routes); i++ {
		if a, b := routes[i-1], routes[i]; slices.Equal(a.order(), b.order()) {
			return nil, fmt.Errorf("%s and %s both claim %s %s", a.Operation, b.Operation, a.Method, a.Path)
		}
	}
	return routes, nil
}

func rpcs(files []protoreflect.FileDescriptor) func(yield func(protoreflect.MethodDescriptor) bool) {
	return func(yield func(protoreflect.MethodDescriptor) bool) {
		for _, file := range files {
			for i := range file.Services().Len() {
				methods := file.Services().Get(i).Methods()
				for j := range methods.Len() {
					if !yield(methods.Get(j)) {
						return
					}
				}
			}
		}
	}
}

func newRoute(rpc protoreflect.MethodDescriptor, rule *annotations.HttpRule) (Route, error) {
	r := Route{
		Operation: fmt.Sprintf("/%s/%s", rpc.Parent().FullName(), rpc.Name()),
		RPC:       rpc,
		body:      rule.Body,
	}
	switch p := rule.Pattern.(type) {
	case *annotations.HttpRule_Get:
		r.Method, r.Path = "GET", p.Get
	case *annotations.HttpRule_Post:
		r.Method, r.Path = "POST", p.Post
	case *annotations.HttpRule_Put:
		r.Method, r.Path = "PUT", p.Put
	case *annotations.HttpRule_Patch:
		r.Method, r.Path = "PATCH", p.Patch
	case *annotations.HttpRule_Delete:
		r.Method, r.Path = "DELETE", p.Delete
	default:
		return Route{}, fmt.Errorf("it needs get, post, put, patch or delete")
	}
	level := identity.LevelOf(r.Operation)
	options, _ := rpc.Options().(*descriptorpb.MethodOptions)
	switch {
	case level == accessv1.Level_LEVEL_UNSPECIFIED, level == accessv1.Level_BRANCH:
		return Route{}, fmt.Errorf("access level %s is not for the public door", level)
	case rpc.IsStreamingClient(), rpc.IsStreamingServer():
		return Route{}, fmt.Errorf("streams are not transcoded")
	case rule.ResponseBody != "":
		return Route{}, fmt.Errorf("response_body is not supported: answer with the whole message")
	case r.Method == "GET" && r.body != "":
		return Route{}, fmt.Errorf("a GET has no body")
	case r.Method == "GET" && (service.NeedsKey(r.Operation) || options.GetIdempotencyLevel() == descriptorpb.MethodOptions_IDEMPOTENT):
		return Route{}, fmt.Errorf("a GET changes nothing, and the proto says that this one does")
	case !strings.HasPrefix(r.Path, "/"):
		return Route{}, fmt.Errorf("the path %q does not begin with /", r.Path)
	}
	for _, name := range r.PathFields() {
		if f := fieldAt(rpc.Input(), name); f == nil || f.IsList() || f.IsMap() || f.Message() != nil {
			return Route{}, fmt.Errorf("the path variable {%s} names no single scalar field of %s", name, rpc.Input().FullName())
		}
	}
	if r.body != "" && r.body != "*" {
		if f := fieldAt(rpc.Input(), r.body); f == nil || f.IsList() || f.IsMap() || f.Message() == nil {
			return Route{}, fmt.Errorf("the body %q names no single message field of %s", r.body, rpc.Input().FullName())
		}
	}
	var err error
	if r.in, err = protoregistry.GlobalTypes.FindMessageByName(rpc.Input().FullName()); err != nil {
		return Route{}, err
	}
	if r.out, err = protoregistry.GlobalTypes.FindMessageByName(rpc.Output().FullName()); err != nil {
		return Route{}, err
	}
	return r, nil
}

// PathFields returns the request's fields that the path binds, dotted below the first level.
func (r Route) PathFields() []string {
	var names []string
	for _, m := range variable.FindAllStringSubmatch(r.Path, -1) {
		names = append(names, m[1])
	}
	return names
}

// HasBody reports whether the request has a JSON body.
func (r Route) HasBody() bool { return r.body != "" }

// order returns the key that routes are sorted by. Two routes with the same key match the same requests.
func (r Route) order() []string {
	key := strings.Split(variable.ReplaceAllString(r.Path, "\xff"), "/")
	return append(key, r.Method)
}

// fieldAt returns the field of m at a dotted path of proto names, nil when there is none.
func fieldAt(m protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	var f protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if m == nil {
			return nil
		}
		if f = m.Fields().ByName(protoreflect.Name(name)); f == nil {
			return nil
		}
		m = nil
		if !f.IsList() && !f.IsMap() {
			m = f.Message()
		}
	}
	return f
}

// Methods returns the HTTP methods with which srv serves path.
func Methods(srv *khttp.Server, path string) []string {
	var methods []string
	_ = srv.WalkRoute(func(route khttp.RouteInfo) error {
		pattern := strings.Split(route.Path, "/")
		segments := strings.Split(path, "/")
		fits := slices.EqualFunc(pattern, segments, func(p, s string) bool {
			return p == s || s != "" && strings.HasPrefix(p, "{")
		})
		if fits {
			methods = append(methods, route.Method)
		}
		return nil
	})
	slices.Sort(methods)
	return methods
}
