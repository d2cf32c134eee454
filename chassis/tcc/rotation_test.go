package tcc_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"testing"

	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// testService is what generated code would be for a branch whose request is a text: its subject.
var testService = grpc.ServiceDesc{ServiceName: "test.v1.Branch", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
	method("Try", tcc.Try), method("Confirm", tcc.Confirm), method("Cancel", tcc.Cancel),
}}

func method(name string, phase tcc.Phase) grpc.MethodDesc {
	handler := func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := &wrapperspb.StringValue{}
		if err := decode(request); err != nil {
			return nil, err
		}
		return srv.(*tcc.Participant).Run(ctx, phase, request.GetValue(), func(*sql.Tx, string) error { return nil })
	}
	return grpc.MethodDesc{MethodName: name, Handler: handler}
}

// serve serves an instance of the participant over db that has keys, registered by registrar.
func serve(t testing.TB, db *sql.DB, keys string, registrar func(grpc.ServiceRegistrar) grpc.ServiceRegistrar) *grpc.ClientConn {
	t.Helper()
	parsed, err := mac.Parse(keys)
	require.NoError(t, err)
	server := grpc.NewServer(tcc.ServerOption())
	registrar(server).RegisterService(&testService, tcc.NewParticipant("rotation", db, parsed))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestRotation takes the steps of docs/guarantees/stop-and-instances.md, with a transaction open across them. In each step every instance may
// have taken it or not, and no call is refused. It also shows why the steps have that order and why the last one waits.
func TestRotation(t *testing.T) {
	t.Parallel()
	const k1, k2 = "k1:00112233445566778899aabbccddeeff", "k2:ffeeddccbbaa99887766554433221100"
	steps := []string{k1, k1 + "," + k2, k2 + "," + k1, k2}
	db, l := mysqltest.Open(t, barrier), newLog(t)
	var initiators []*tcc.Coordinator
	var participants []*grpc.ClientConn
	for _, keys := range steps {
		initiators = append(initiators, l.dial(t, keys))
		participants = append(participants, serve(t, db, keys, tcc.Registrar))
	}
	open := func(initiator int, gid string) *tcc.Transaction {
		global, err := initiators[initiator].Prepare(t.Context(), gid, "order-1", 8*time.Second, branchOf("02", "order-1"))
		require.NoError(t, err)
		return global
	}
	decide := func(participant int, gid, op, method string) error {
		headers, payload := l.call(gid, "02", op)
		return participants[participant].Invoke(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), "/test.v1.Branch/"+method,
			wrapperspb.String(string(payload[2:])), &emptypb.Empty{}) // a text of less than 128 bytes comes after two more
	}

	across := open(0, "across")
	require.NoError(t, across.Try(t.Context(), participants[0], "02"))
	for step := range 3 {
		for _, initiator := range []int{step, step + 1} {
			for _, participant := range []int{step, step + 1} {
				gid := fmt.Sprintf("step-%d-by-%d-at-%d", step+1, initiator, participant)
				global := open(initiator, gid)
				require.NoError(t, global.Try(t.Context(), participants[participant], "02"), gid)
				other := 2*step + 1 - participant // an instance in the other state of this step
				require.NoError(t, decide(other, gid, "confirm", "Confirm"), gid)
				require.NoError(t, decide(participant, gid, "confirm", "Confirm"), "%s, repeated", gid)
			}
		}
		if step < 2 {
			require.NoError(t, across.Try(t.Context(), participants[step+1], "02"), "the Try, repeated after step %d", step+1)
		}
	}
	require.NoError(t, decide(2, "across", "confirm", "Confirm"), "before the last step")

	late := open(1, "late")
	require.NoError(t, late.Try(t.Context(), participants[2], "02"))
	assert.Equal(t, 403, kerrors.Code(decide(3, "late", "cancel", "Cancel")), "the old key is gone, and a transaction that it signed is open")
	require.NoError(t, decide(2, "late", "cancel", "Cancel"), "and is put back")
	early := open(2, "early")
	assert.Equal(t, 403, kerrors.Code(early.Try(t.Context(), participants[0], "02")), "a new key signs where not all have it")
}

// TestUnregistered: a branch that was registered without Registrar does nothing, because nobody knows the bytes that its calls came in.
func TestUnregistered(t *testing.T) {
	t.Parallel()
	const key = "k1:00112233445566778899aabbccddeeff"
	db, l := mysqltest.Open(t, barrier), newLog(t)
	global, err := l.dial(t, key).Prepare(t.Context(), "g", "order-1", time.Second, branchOf("02", "order-1"))
	require.NoError(t, err)
	conn := serve(t, db, key, func(r grpc.ServiceRegistrar) grpc.ServiceRegistrar { return r })
	require.ErrorContains(t, global.Try(t.Context(), conn, "02"), "not registered by tcc.Registrar")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM barrier"))
}
