package tcc_test

import (
	"context"
	"maps"
	"net"
	"sync"
	"testing"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
)

// log is a coordinator that writes down what it is told, as the real one does.
type log struct {
	dtmgpb.UnimplementedDtmServer
	addr     string
	mu       sync.Mutex
	prepared []*dtmgpb.DtmRequest
	branches map[string]map[string][]byte // the requests by gid and branch id
	silent   bool                         // it does not say how many branches came
}

func newLog(t testing.TB) *log {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &log{addr: lis.Addr().String(), branches: map[string]map[string][]byte{}}
	server := grpc.NewServer()
	dtmgpb.RegisterDtmServer(server, l)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return l
}

// dial returns a client of l that signs with keys.
func (l *log) dial(t testing.TB, keys string) *tcc.Coordinator {
	t.Helper()
	parsed, err := mac.Parse(keys)
	require.NoError(t, err)
	c, err := tcc.Dial(l.addr, "http://127.0.0.1:1", mtls.Config{}, parsed)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (l *log) Prepare(ctx context.Context, req *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepared = append(l.prepared, req)
	if l.silent {
		return &emptypb.Empty{}, nil
	}
	branches, err := tcclaws.Prepared(ctx, req)
	l.branches[req.GetGid()] = branches
	return &emptypb.Empty{}, err
}

// last returns the request of the last Prepare, nil when there was none.
func (l *log) last() *dtmgpb.DtmRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.prepared) == 0 {
		return nil
	}
	return l.prepared[len(l.prepared)-1]
}

// call returns what the coordinator calls op of a branch with: the headers, and the payload.
func (l *log) call(gid, branch, op string) (map[string]string, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	headers := map[string]string{"dtm-gid": gid, "dtm-trans_type": "tcc", "dtm-branch_id": branch, "dtm-op": op}
	for _, req := range l.prepared {
		if req.GetGid() == gid {
			maps.Copy(headers, req.GetTransOptions().GetBranchHeaders())
		}
	}
	return headers, l.branches[gid][branch]
}
