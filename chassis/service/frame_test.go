package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// TestFrameIsHidden: who connects learns neither what is served nor who else is connected, unless faults are allowed.
func TestFrameIsHidden(t *testing.T) {
	t.Parallel()
	for _, faults := range []bool{false, true} {
		keys, _ := servicetest.Keys(t)
		cfg := service.Config{IdentityKeys: keys, Faults: faults}
		cfg.GRPC.Addr, cfg.GRPC.Timeout, cfg.Admin.Addr, cfg.Log.Level = servicetest.FreeAddr(t), 10*time.Second, "127.0.0.1:0", "error"
		svc, err := service.New("test", cfg)
		require.NoError(t, err)
		t.Cleanup(svc.Close)
		servicetest.Serve(t, svc.Run)
		conn := servicetest.Dial(t, cfg.GRPC.Addr)
		_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		require.NoError(t, err, "clients choose instances by it")

		asked := map[string]func() error{
			"reflection": func() error {
				stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
				require.NoError(t, err)
				_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
					MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
				_, err = stream.Recv()
				return err
			},
			"channelz": func() error {
				_, err := grpc_channelz_v1.NewChannelzClient(conn).GetServers(t.Context(), &grpc_channelz_v1.GetServersRequest{})
				return err
			},
		}
		for name, ask := range asked {
			if err := ask(); faults {
				assert.NoError(t, err, name)
			} else {
				assert.Equal(t, codes.Unimplemented, status.Code(err), "%s: %v", name, err)
			}
		}
	}
}

// TestPanicsAreLoggedWithoutTheRequest: a panic is a 500, and the log has the stack, and nothing of what was sent.
func TestPanicsAreLoggedWithoutTheRequest(t *testing.T) {
	t.Parallel()
	req := &memberv1.SignInRequest{Login: "ann@example.com", Password: "correct horse"}
	for name, c := range map[string]struct {
		with  func()
		cause string
	}{
		"a nil pointer":     {func() { _ = *(*string)(nil) + req.GetLogin() }, "nil pointer dereference"},
		"an index":          {func() { _ = []int{}[len(req.GetLogin())] }, "index out of range"},
		"a text about it":   {func() { panic(fmt.Sprintf("no idea: %v", req)) }, "a string"},
		"an error about it": {func() { panic(fmt.Errorf("no idea: %v: %w", req, errors.ErrUnsupported)) }, "a *fmt.wrapError"},
		"itself":            {func() { panic(req) }, "a *memberv1.SignInRequest"},
	} {
		var said bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
		_, err := service.Recover(log)(func(context.Context, any) (any, error) { c.with(); return nil, nil })(t.Context(), req)
		assert.Equal(t, 500, kerrors.Code(err), name)
		assert.NotContains(t, err.Error(), "ann@", name)
		assert.Contains(t, said.String(), c.cause, name)
		assert.Contains(t, said.String(), "frame_test.go", "%s: the stack", name)
		for _, secret := range []string{"ann@example.com", "correct horse"} {
			assert.NotContains(t, said.String(), secret, name)
		}
	}
}
