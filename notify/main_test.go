package main

import (
	"context"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

func TestMain(m *testing.M) { mqtest.Main(m) }

// testConfig is the built-in configuration with addresses, keys and a database of the test's own.
func testConfig(t *testing.T) (config, *identity.Signer) {
	t.Helper()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	dir, signer := servicetest.Keys(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), servicetest.FreeAddr(t), "error", dir
	cfg.MySQL.DSN = mysqltest.DSN(t)
	cfg.MQ.NameServers = "127.0.0.1:1" // nobody listens there
	return cfg, signer
}

// TestServes: the lists are for operators.
func TestServes(t *testing.T) {
	t.Parallel()
	cfg, signer := testConfig(t)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	stopped := make(chan error, 1)
	go func() { stopped <- run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-stopped)
	})
	conn, err := grpc.NewClient(cfg.GRPC.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	notifications := notifyv1.NewNotificationsClient(conn)
	for role, code := range map[identity.Role]int{"": 401, identity.Shopper: 403, identity.Operator: 200} {
		call := ctx
		if role != "" {
			token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: role}, time.Now(), time.Minute)
			require.NoError(t, err)
			call = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		_, err := notifications.ListNotifications(call, &notifyv1.ListNotificationsRequest{})
		assert.Equal(t, code, kerrors.Code(err), "%q: %v", role, err)
		_, err = notifications.ListInbox(call, &notifyv1.ListInboxRequest{})
		assert.Equal(t, code, kerrors.Code(err), "%q: %v", role, err)
	}
}
