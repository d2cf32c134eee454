package tcc_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/tcc"
)

// server stands for one instance of the coordinator.
type server struct {
	dtmgpb.UnimplementedDtmServer
	prepared, asked atomic.Int64
	blind           atomic.Bool // cannot read its log
	addr            string
	grpc            *grpc.Server
	admin           *httptest.Server
}

func (s *server) Prepare(ctx context.Context, req *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	s.prepared.Add(1)
	return &emptypb.Empty{}, grpc.SetHeader(ctx, metadata.Pairs("branches", strconv.Itoa(len(req.GetBinPayloads()))))
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{grpc: grpc.NewServer()}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = lis.Addr().String()
	dtmgpb.RegisterDtmServer(s.grpc, s)
	go func() { _ = s.grpc.Serve(lis) }()
	t.Cleanup(s.grpc.Stop)
	s.admin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		if s.blind.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(`{"transaction": {"status": "submitted"}}`))
	}))
	t.Cleanup(s.admin.Close)
	return s
}

// TestSeveralCoordinators: calls are spread over all, and go on when one is away; questions go to one that answers.
func TestSeveralCoordinators(t *testing.T) {
	t.Parallel()
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	one, two := newServer(t), newServer(t)
	c, err := tcc.Dial(one.addr+","+two.addr, one.admin.URL+","+two.admin.URL, mtls.Config{}, keys)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	prepare := func() error {
		_, err := c.Prepare(t.Context(), "gid", "order", time.Second)
		return err
	}
	ask := func() {
		status, err := c.Status(t.Context(), "gid")
		require.NoError(t, err)
		require.Equal(t, tcc.Submitted, status)
		require.NoError(t, c.RetryNow(t.Context(), "gid"))
	}
	require.Eventually(t, func() bool {
		assert.NoError(t, prepare())
		return one.prepared.Load() > 0 && two.prepared.Load() > 0
	}, 3*time.Second, 5*time.Millisecond)
	ask()
	require.Zero(t, two.asked.Load(), "one is enough")

	one.blind.Store(true)
	ask()
	before := one.asked.Load()
	ask()
	require.Equal(t, before, one.asked.Load(), "who can answer is asked first from now on")
	two.asked.Store(0)

	one.grpc.Stop()
	one.admin.Close()
	require.Eventually(t, func() bool { return prepare() == nil }, time.Second, time.Millisecond)
	for range 50 {
		require.NoError(t, prepare())
	}
	ask()
	require.EqualValues(t, 2, two.asked.Load())

	two.admin.Close()
	_, err = c.Status(t.Context(), "gid")
	require.Error(t, err)
}

func TestDialRefusesWhatIsNoAdmin(t *testing.T) {
	t.Parallel()
	for _, admin := range []string{"", "127.0.0.1:16789", "http://127.0.0.1:1,"} {
		_, err := tcc.Dial("127.0.0.1:16790", admin, mtls.Config{}, mac.Keys{})
		require.ErrorContains(t, err, "http://host:port", admin)
	}
}

// TestSilentCoordinator: an instance that accepts questions and does not answer delays only the first, and not for long.
func TestSilentCoordinator(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	two := newServer(t)
	c, err := tcc.Dial(two.addr, "http://"+silent.Addr().String()+", "+two.admin.URL, mtls.Config{}, mac.Keys{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	for _, limit := range []time.Duration{3 * time.Second, time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		status, err := c.Status(ctx, "gid")
		cancel()
		require.NoError(t, err)
		require.Equal(t, tcc.Submitted, status)
	}
}
