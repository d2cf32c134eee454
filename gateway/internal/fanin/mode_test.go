package fanin_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	mqv1 "example.com/fourfold/api/mq/v1"
)

// GetMode answers what the store knows: how many seconds after start, and whether Redis says so.
func (s *store) GetMode(context.Context, *mqv1.GetModeRequest) (*mqv1.ModeReply, error) {
	return &mqv1.ModeReply{Mode: "NORMAL", Service: s.name, RedisAnswered: s.redis, AsOf: at(s.knows)}, nil
}

func (s *store) ForceMode(_ context.Context, r *mqv1.ForceModeRequest) (*mqv1.ModeReply, error) {
	if !s.redis {
		return nil, kerrors.ServiceUnavailable("TRY_LATER", "Redis is away")
	}
	s.forced.Add(1)
	return &mqv1.ModeReply{Mode: r.GetMode().String(), Service: s.name, RedisAnswered: true}, nil
}

// TestGetMode: it is one switch, so one answer will do: of a service that Redis answers, without waiting for others; else the latest.
func TestGetMode(t *testing.T) {
	t.Parallel()
	a, b, c := &store{name: "a", knows: 9}, &store{name: "b", redis: true}, &store{name: "c", knows: 10}
	client := serve(t, patient, a, b, c)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer mine")
	get := func() string {
		t.Helper()
		reply, err := client.GetMode(ctx, &mqv1.GetModeRequest{})
		require.NoError(t, err)
		return reply.GetService()
	}
	assert.Equal(t, "b", get())
	assert.Equal(t, "Bearer mine", <-b.tokens)
	a.hang.Store(true)
	began := time.Now()
	assert.Equal(t, "b", get())
	assert.Less(t, time.Since(began), patient*3/4, "the others are not waited for")
	a.hang.Store(false)
	b.stop()
	assert.Equal(t, "c", get(), "it has the latest")
	c.refuse = kerrors.ServiceUnavailable("TRY_LATER", "busy")
	assert.Equal(t, "a", get())
	c.refuse = kerrors.Forbidden("OPERATOR_ONLY", "no")
	_, err := client.GetMode(ctx, &mqv1.GetModeRequest{})
	refused(t, err, 403, "OPERATOR_ONLY")
	a.stop()
	c.stop()
	_, err = client.GetMode(ctx, &mqv1.GetModeRequest{})
	refused(t, err, 503, "TRY_LATER")
}

// TestForceMode: the switch is moved once, by a service that can, whichever that is.
func TestForceMode(t *testing.T) {
	t.Parallel()
	a, b, c := &store{name: "a", redis: true}, &store{name: "b"}, &store{name: "c", redis: true}
	client := serve(t, time.Second, a, b, c)
	req := &mqv1.ForceModeRequest{Mode: mqv1.Force_DEGRADED, Reason: "the rack moves"}
	force := func() string {
		t.Helper()
		reply, err := client.ForceMode(t.Context(), req)
		require.NoError(t, err)
		return fmt.Sprint(reply.GetService(), " ", reply.GetMode(), " ", a.forced.Load(), c.forced.Load())
	}
	assert.Equal(t, "a DEGRADED 1 0", force())
	a.hang.Store(true)
	assert.Equal(t, "c DEGRADED 1 1", force())
	c.refuse = kerrors.Forbidden("OPERATOR_ONLY", "no")
	_, err := client.ForceMode(t.Context(), req)
	refused(t, err, 403, "OPERATOR_ONLY")
	c.stop()
	_, err = client.ForceMode(t.Context(), req)
	refused(t, err, 503, "TRY_LATER")
	assert.Contains(t, kerrors.FromError(err).Message, "none of a, b, c could move the switch")
	for _, bad := range []*mqv1.ForceModeRequest{{Reason: "r"}, {Mode: 9, Reason: "r"}, {Mode: mqv1.Force_NORMAL},
		{Mode: mqv1.Force_NORMAL, Reason: fmt.Sprintf("%501s", "x")}} {
		_, err := client.ForceMode(t.Context(), bad)
		refused(t, err, 400, "VALIDATOR")
	}
}
