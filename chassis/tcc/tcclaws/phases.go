package tcclaws

import (
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	branchv1 "example.com/fourfold/api/branch/v1"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc"
)

// Phase returns the headers with which method, a phase of transaction gid about subject, is called with request.
func Phase(t testing.TB, keys mac.Keys, method, gid, subject string, request proto.Message) map[string]string {
	t.Helper()
	payload, err := proto.Marshal(request)
	require.NoError(t, err)
	service, phase := path.Split(strings.TrimPrefix(method, "/"))
	return tcc.Call{GID: gid, Branch: branchID, Phase: tcc.Phase(strings.ToLower(phase)), Service: strings.TrimSuffix(service, "/"),
		Subject: subject, Payload: payload}.Headers(keys)
}

// PhaseCalls returns the calls of a participant at conn: each phase of its services payment and refund, after all phases that come before it in
// a transaction of its own; and of the barrier beside it. request makes what a service is called with about a subject.
func PhaseCalls(conn *grpc.ClientConn, keys mac.Keys, request func(service, subject string) proto.Message,
	payment, refund string) (calls []servicetest.Call) {
	paid := []string{payment + "/Try", payment + "/Confirm"}
	var subjects atomic.Int64
	for _, way := range [][]string{
		paid[:1], paid, {paid[0], payment + "/Cancel"},
		append(paid[:2:2], refund+"/Try"), append(paid[:2:2], refund+"/Try", refund+"/Confirm"), append(paid[:2:2], refund+"/Try", refund+"/Cancel"),
	} {
		last := "/" + way[len(way)-1]
		calls = append(calls, servicetest.Call{Method: last, Make: func(t *testing.T) (proto.Message, map[string]string) {
			subject := fmt.Sprint("order-", subjects.Add(1), "-", last[strings.LastIndexByte(last, '.')+1:])
			var req proto.Message
			var headers map[string]string
			for i, method := range way {
				service := method[:strings.LastIndexByte(method, '/')]
				req = request(service, subject)
				headers = Phase(t, keys, method, service+subject, subject, req)
				if i < len(way)-1 {
					ctx := metadata.NewOutgoingContext(t.Context(), metadata.New(headers))
					require.NoError(t, conn.Invoke(ctx, "/"+method, req, new(emptypb.Empty)))
				}
			}
			return req, headers
		}})
	}
	barrier := &branchv1.GetBranchRequest{Gid: "none", BranchId: branchID}
	return append(calls, servicetest.Call{Method: branchv1.Barrier_GetBranch_FullMethodName,
		Make: func(*testing.T) (proto.Message, map[string]string) {
			return barrier, keys.CallHeaders(branchv1.Barrier_GetBranch_FullMethodName, barrier)
		}})
}
