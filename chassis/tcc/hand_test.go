package tcc_test

import (
	"net"
	"strings"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	branchv1 "example.com/fourfold/api/branch/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
)

// TestBarrierTells: the barrier tells the holders of a key how far each branch has come, and nobody else.
func TestBarrierTells(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, barrier)
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	p := tcc.NewParticipant(t.Name(), db, keys)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	branchv1.RegisterBarrierServer(server, tcc.NewBarrier(keys, db))
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := service.Dial(lis.Addr().String(), mtls.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	by := func(text string) *tcc.Coordinator {
		t.Helper()
		keys, err := mac.Parse(text)
		require.NoError(t, err)
		c, err := tcc.Dial("127.0.0.1:1", "http://127.0.0.1:1", mtls.Config{}, keys)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	holder := by("k1:00112233445566778899aabbccddeeff")
	for name, tt := range map[string]struct {
		phases []tcc.Phase
		is     tcc.State
	}{
		"nothing":                  {nil, tcc.None},
		"Try":                      {[]tcc.Phase{tcc.Try}, tcc.Tried},
		"Try and Confirm":          {[]tcc.Phase{tcc.Try, tcc.Confirm}, tcc.Confirmed},
		"Confirm repeated":         {[]tcc.Phase{tcc.Try, tcc.Confirm, tcc.Confirm, tcc.Try}, tcc.Confirmed},
		"Try and Cancel":           {[]tcc.Phase{tcc.Try, tcc.Cancel}, tcc.Canceled},
		"Cancel without Try":       {[]tcc.Phase{tcc.Cancel}, tcc.Canceled},
		"Cancel, and the Try late": {[]tcc.Phase{tcc.Cancel, tcc.Try}, tcc.Canceled},
	} {
		gid := "gid-" + strings.ReplaceAll(name, " ", "-")
		for _, of := range tt.phases {
			require.NoError(t, phase(t, p, keys, of, gid, nil), name)
		}
		state, err := holder.State(t.Context(), conn, gid, "02")
		require.NoError(t, err, name)
		assert.Equal(t, tt.is, state, name)
		state, err = holder.State(t.Context(), conn, gid, "03")
		require.NoError(t, err)
		assert.Equal(t, tcc.None, state, "another branch")
	}
	_, err = by("k1:ffffffffffffffffffffffffffffffff").State(t.Context(), conn, "gid", "02")
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
}
