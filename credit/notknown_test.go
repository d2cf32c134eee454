package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/ledger/ledgerlaws"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc/tcclaws"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.MySQL.Wrap = faults.Wrap
	cfg.Faults = true // reflection says what is served
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers = "127.0.0.1:1" // a broker that is away does not keep the service from starting
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	keys, err := mac.Parse(cfg.BranchKeys)
	require.NoError(t, err)
	as := func(role identity.Role) map[string]string {
		return servicetest.Bearer(t, signer, identity.Caller{MemberID: "m-1", Role: role})
	}
	call := func(method string, role identity.Role, req proto.Message) servicetest.Call {
		return servicetest.Call{Method: method, Make: func(*testing.T) (proto.Message, map[string]string) { return req, as(role) }}
	}
	calls := []servicetest.Call{
		call(creditv1.Credits_GetMyCredit_FullMethodName, accessv1.Shopper, &creditv1.GetMyCreditRequest{}),
		call(creditv1.Credits_ListMyEntries_FullMethodName, accessv1.Shopper, &creditv1.ListMyEntriesRequest{}),
		call(creditv1.Credits_SetFrozen_FullMethodName, accessv1.Operator, &creditv1.SetFrozenRequest{Id: "m-2", Frozen: new(true)}),
	}
	calls = append(calls, ledgerlaws.Calls(keys)...)
	calls = append(calls, tcclaws.PhaseCalls(conn, keys, func(service, subject string) proto.Message {
		if service == creditv1.CreditDeduction_ServiceDesc.ServiceName {
			return &creditv1.CreditDeductionRequest{OrderId: subject, MemberId: "m-1", Points: 10}
		}
		return &creditv1.CreditGrantRequest{OrderId: subject, MemberId: "m-1", Points: 10}
	}, creditv1.CreditGrant_ServiceDesc.ServiceName, creditv1.CreditDeduction_ServiceDesc.ServiceName)...)
	servicetest.NotKnown(t, conn, faults, calls, "mq.v1.Messages", "mq.v1.Sent")
}
