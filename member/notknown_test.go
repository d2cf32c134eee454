package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/rpc"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	cfg := testConfig(t)
	cfg.MySQL.Wrap, cfg.Log.Level = faults.Wrap, "error"
	cfg.Faults = true                                 // reflection says what is served
	unlimited := mysql.Rate{PerHour: 1e6, Burst: 1e6} // and counted
	cfg.Guesses = rpc.Guesses{Strangers: unlimited, Owner: unlimited}
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	members := memberv1.NewMembersClient(conn)
	_, err := members.SignUp(t.Context(), ann())
	require.NoError(t, err)
	signIn := &memberv1.SignInRequest{Login: ann().GetEmail(), Password: ann().GetPassword()}
	signed, err := members.SignIn(t.Context(), signIn)
	require.NoError(t, err)
	var people atomic.Int64
	token := map[string]string{"authorization": "Bearer " + signed.GetAccessToken(), service.AddressHeader: "192.0.2.1"}
	call := func(method, name string, req func() proto.Message) servicetest.Call {
		return servicetest.Call{Method: method, Case: name, Make: func(*testing.T) (proto.Message, map[string]string) { return req(), token }}
	}
	servicetest.NotKnown(t, conn, faults, []servicetest.Call{
		call(memberv1.Members_SignUp_FullMethodName, "", func() proto.Message {
			n := people.Add(1)
			return &memberv1.SignUpRequest{Phone: fmt.Sprintf("+86139%08d", n), Email: fmt.Sprintf("p%d@example.com", n), Name: "P",
				Password: "correct horse"}
		}),
		call(memberv1.Members_SignUp_FullMethodName, "taken", func() proto.Message { return ann() }),
		call(memberv1.Members_SignIn_FullMethodName, "", func() proto.Message { return signIn }),
		call(memberv1.Members_SignIn_FullMethodName, "wrong", func() proto.Message {
			return &memberv1.SignInRequest{Login: "nobody@example.com", Password: "correct horse"}
		}),
		call(memberv1.Members_GetMe_FullMethodName, "", func() proto.Message {
			return &memberv1.GetMeRequest{}
		}),
		{Method: memberv1.Endings_ListEndings_FullMethodName, Make: func(*testing.T) (proto.Message, map[string]string) {
			req := new(memberv1.ListEndingsRequest)
			return req, mqtest.Keys().CallHeaders(memberv1.Endings_ListEndings_FullMethodName, req)
		}},
	}, "mq.v1.Messages", "mq.v1.Sent")
}
