package servicetest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.com/fourfold/chassis/database/mysqltest"
)

// Call is one call of a service under test.
type Call struct {
	// Method is its full name, from the generated code; Case tells several calls of one method apart.
	Method, Case string
	// Make makes what the call is about anew, so that earlier calls have not touched it, and returns the request and the headers to send.
	Make func(t *testing.T) (proto.Message, map[string]string)
	// Says returns what is compared of a reply; all but ids and times when nil.
	Says func(reply proto.Message) string
}

// NotKnown lets each statement of each call meet each fault. A fault says nothing about what was asked, so the answer must be 503
// TRY_LATER, or the same as without it: no other refusal, which would be final, and no 500. calls must have one of every RPC that is served
// at conn, except those of the services in elsewhere, and the RPCs in it: those are tested there, or ask no database. faults are in the
// service's connections to its database.
func NotKnown(t *testing.T, conn *grpc.ClientConn, faults *mysqltest.Faults, calls []Call, elsewhere ...string) {
	t.Helper()
	var called []string
	for _, c := range calls {
		called = append(called, c.Method)
	}
	slices.Sort(called)
	require.Equal(t, methods(t, conn, elsewhere), slices.Compact(called), "every RPC is called")
	for _, c := range calls {
		name := c.Method[strings.LastIndexByte(c.Method[:strings.LastIndexByte(c.Method, '/')], '.')+1:]
		t.Run(strings.TrimSpace(strings.ReplaceAll(name, "/", ".")+" "+c.Case), func(t *testing.T) {
			without := faults.Plan("", 0)
			want := c.answer(t, conn, without)
			require.Positive(t, without.Statements(), "the call reaches the database")
			var wrong []string
			met := 0
			for _, fault := range mysqltest.AllFaults() {
				for n := 1; ; n++ {
					plan := faults.Plan(fault, n)
					got := c.answer(t, conn, plan)
					if plan.Statements() < n {
						break
					}
					met++
					if got != want && got != "503 TRY_LATER" {
						wrong = append(wrong, fmt.Sprintf("%s at statement %d: %s", fault, n, got))
					}
				}
			}
			assert.Empty(t, wrong, "without a fault the answer is %s", want)
			t.Logf("%s; %d faults", want, met)
		})
	}
}

// answer makes the call and returns what it was answered: OK and what the reply says, or the error's code, reason and status of its subject.
func (c Call) answer(t *testing.T, conn *grpc.ClientConn, plan *mysqltest.Plan) string {
	t.Helper()
	req, headers := c.Make(t)
	reply := newReply(t, c.Method)
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), 30*time.Second)
	defer cancel()
	if err := conn.Invoke(plan.Context(ctx), c.Method, req, reply); err != nil {
		e := kerrors.FromError(err)
		return strings.TrimSpace(fmt.Sprint(e.Code, " ", e.Reason, " ", e.Metadata["status"]))
	}
	if c.Says != nil {
		return "OK " + c.Says(reply)
	}
	return "OK " + varying.ReplaceAllString(strings.Join(strings.Fields(protojson.Format(reply)), ""), "…")
}

// varying are ids, times and tokens.
var varying = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+Z|eyJ[\w.-]+`)

// newReply returns an empty reply of method.
func newReply(t *testing.T, method string) proto.Message {
	t.Helper()
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	require.NoError(t, err)
	reply, err := protoregistry.GlobalTypes.FindMessageByName(d.(protoreflect.MethodDescriptor).Output().FullName())
	require.NoError(t, err)
	return reply.New().Interface()
}

// methods returns the full names of all methods that are served at conn, sorted: what the server says that it serves, without the frame's own
// services and what is in elsewhere.
func methods(t *testing.T, conn *grpc.ClientConn, elsewhere []string) (names []string) {
	t.Helper()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}))
	reply, err := stream.Recv()
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	for _, s := range reply.GetListServicesResponse().GetService() {
		if strings.HasPrefix(s.GetName(), "grpc.") || strings.HasPrefix(s.GetName(), "kratos.api.") || slices.Contains(elsewhere, s.GetName()) {
			continue
		}
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.GetName()))
		require.NoError(t, err)
		all := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range all.Len() {
			if name := "/" + s.GetName() + "/" + string(all.Get(i).Name()); !slices.Contains(elsewhere, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}
