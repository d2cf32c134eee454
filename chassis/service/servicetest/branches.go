package servicetest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/tcc"
)

// Bearer returns the headers of a call by caller.
func Bearer(t testing.TB, signer *identity.Signer, caller identity.Caller) map[string]string {
	t.Helper()
	token, err := signer.Sign(caller, time.Now(), time.Hour)
	require.NoError(t, err)
	return map[string]string{"authorization": "Bearer " + token}
}

// Phase returns the headers with which the coordinator calls method, a phase of transaction gid about subject.
func Phase(keys tcc.Keys, method, gid, subject string) map[string]string {
	headers := keys.Headers(gid, subject)
	headers["dtm-gid"], headers["dtm-branch_id"] = gid, "01"
	headers["dtm-op"] = strings.ToLower(method[strings.LastIndexByte(method, '/')+1:])
	return headers
}

// Participant returns the calls of a participant at conn: each phase of its services payment and refund, after all phases that come before it in
// a transaction of its own. request makes what a service is called with about a subject.
func Participant(conn *grpc.ClientConn, keys tcc.Keys, request func(service, subject string) proto.Message,
	payment, refund string) (calls []Call) {
	paid := []string{payment + "/Try", payment + "/Confirm"}
	var subjects atomic.Int64
	for _, way := range [][]string{
		paid[:1], paid, {paid[0], payment + "/Cancel"},
		append(paid[:2:2], refund+"/Try"), append(paid[:2:2], refund+"/Try", refund+"/Confirm"), append(paid[:2:2], refund+"/Try", refund+"/Cancel"),
	} {
		last := "/" + way[len(way)-1]
		calls = append(calls, Call{Method: last, Make: func(t *testing.T) (proto.Message, map[string]string) {
			subject := fmt.Sprint("order-", subjects.Add(1), "-", last[strings.LastIndexByte(last, '.')+1:])
			var req proto.Message
			var headers map[string]string
			for i, method := range way {
				service := method[:strings.LastIndexByte(method, '/')]
				req, headers = request(service, subject), Phase(keys, method, service+subject, subject)
				if i < len(way)-1 {
					ctx := metadata.NewOutgoingContext(t.Context(), metadata.New(headers))
					require.NoError(t, conn.Invoke(ctx, "/"+method, req, new(emptypb.Empty)))
				}
			}
			return req, headers
		}})
	}
	return calls
}

// Books returns the calls of a service that opens its books.
func Books(keys tcc.Keys) (calls []Call) {
	for method, req := range map[string]proto.Message{
		ledgerv1.Ledger_Check_FullMethodName:  &ledgerv1.CheckRequest{CallId: "1", OpenSeconds: 3600},
		ledgerv1.Ledger_Digest_FullMethodName: &ledgerv1.DigestRequest{CallId: "1"},
		ledgerv1.Ledger_Facts_FullMethodName:  &ledgerv1.FactsRequest{CallId: "1", Subjects: []string{"order-1"}},
	} {
		calls = append(calls, Call{Method: method, Make: func(*testing.T) (proto.Message, map[string]string) {
			return req, ledger.Headers(keys, method, req)
		}, Says: func(proto.Message) string { return "what is there" }})
	}
	return calls
}
