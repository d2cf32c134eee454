package endings_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/gateway/internal/endings"
)

// members answers holders of keys.
type members struct {
	memberv1.UnimplementedEndingsServer
	keys  mac.Keys
	asked atomic.Int64
	reply atomic.Pointer[memberv1.ListEndingsReply]
}

func (m *members) ListEndings(ctx context.Context, req *memberv1.ListEndingsRequest) (*memberv1.ListEndingsReply, error) {
	m.asked.Add(1)
	return m.reply.Load(), m.keys.CheckCall(ctx, memberv1.Endings_ListEndings_FullMethodName, req)
}

// lines is a log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// serve starts m at addr and returns how to stop it.
func serve(t *testing.T, addr string, m *members) (stop func()) {
	t.Helper()
	srv := kgrpc.NewServer(kgrpc.Address(addr))
	memberv1.RegisterEndingsServer(srv, m)
	_, err := srv.Endpoint() // listens
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Start(context.Background())
	}()
	return func() {
		srv.Server.Stop()
		<-ended
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	keys, err := mac.Parse("k1:" + strings.Repeat("ab", 16))
	require.NoError(t, err)
	m := &members{keys: keys}
	m.reply.Store(&memberv1.ListEndingsReply{Endings: []*memberv1.Ending{{MemberId: "m1", Epoch: 1}}})
	addr := servicetest.FreeAddr(t)
	stop := serve(t, addr, m)
	said := make(lines, 100)
	f := endings.New(servicetest.Dial(t, addr), keys, slog.New(slog.NewTextHandler(said, nil)))
	m1, m2 := identity.Caller{MemberID: "m1"}, identity.Caller{MemberID: "m2"}
	assert.False(t, f.Ended(m1), "nothing is known yet")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Follow(endings.Config{Every: 10 * time.Millisecond})(ctx) }()
	eventually := func(is func() bool) {
		t.Helper()
		require.Eventually(t, is, 20*time.Second, 5*time.Millisecond)
	}
	eventually(func() bool { return f.Ended(m1) })
	assert.False(t, f.Ended(m2))
	assert.False(t, f.Ended(identity.Caller{MemberID: "m1", Epoch: 1}))

	stop()
	m.reply.Store(&memberv1.ListEndingsReply{Endings: []*memberv1.Ending{{MemberId: "m2", Epoch: 1}}})
	assert.Contains(t, <-said, "member does not say")
	assert.True(t, f.Ended(m1), "what was known last holds")
	assert.False(t, f.Ended(m2))

	stop = serve(t, addr, m)
	eventually(func() bool { return f.Ended(m2) })
	cancel()
	require.NoError(t, <-done)
	stop()
	assert.Empty(t, said, "said once")
}

func TestNeverAsked(t *testing.T) {
	t.Parallel()
	f := endings.New(servicetest.Dial(t, "127.0.0.1:1"), mac.Keys{}, slog.New(slog.DiscardHandler))
	require.NoError(t, f.Follow(endings.Config{})(t.Context()))
}
