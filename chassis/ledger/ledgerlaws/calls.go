package ledgerlaws

import (
	"testing"

	"google.golang.org/protobuf/proto"

	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/service/servicetest"
)

// Calls returns the calls of a service that opens its books.
func Calls(keys mac.Keys) (calls []servicetest.Call) {
	for method, req := range map[string]proto.Message{
		ledgerv1.Ledger_Check_FullMethodName:  &ledgerv1.CheckRequest{CallId: "1", OpenSeconds: 3600},
		ledgerv1.Ledger_Digest_FullMethodName: &ledgerv1.DigestRequest{CallId: "1"},
		ledgerv1.Ledger_Facts_FullMethodName:  &ledgerv1.FactsRequest{CallId: "1", Subjects: []string{"order-1"}},
	} {
		calls = append(calls, servicetest.Call{Method: method, Make: func(*testing.T) (proto.Message, map[string]string) {
			return req, keys.CallHeaders(method, req)
		}, Says: func(proto.Message) string { return "what is there" }})
	}
	return calls
}
