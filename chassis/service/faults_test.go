package service_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// queried answers with what a statement in its database comes to.
type queried struct {
	inventoryv1.UnimplementedCatalogueServer
	db        *sql.DB
	statement string
}

func (q queried) ListProducts(ctx context.Context, _ *inventoryv1.ListProductsRequest) (*inventoryv1.ListProductsReply, error) {
	_, err := q.db.ExecContext(ctx, q.statement)
	return &inventoryv1.ListProductsReply{}, err
}

// TestDatabaseTurnsAway: a real server that refuses one more connection makes the answer 503, try later; a statement that is wrong makes it 500.
// Neither tells the caller why.
func TestDatabaseTurnsAway(t *testing.T) {
	t.Parallel()
	dsn := mysqltest.DSN(t)
	root, err := database.Open(database.Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	for _, statement := range []string{"CREATE USER one@'%' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON *.* TO one@'%'"} {
		_, err := root.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	limited, err := database.Open(database.Config{DSN: strings.Replace(dsn, "root@", "one@", 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = limited.Close() })
	held, err := limited.Conn(t.Context())
	require.NoError(t, err)

	call := func(db *sql.DB, statement string) error {
		var cfg service.Config
		cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.GRPC.Timeout = servicetest.FreeAddr(t), "127.0.0.1:0", "error", 10*time.Second
		cfg.IdentityKeys, _ = servicetest.Keys(t)
		s, err := service.New("shop", cfg)
		require.NoError(t, err)
		inventoryv1.RegisterCatalogueServer(s.GRPC, queried{db: db, statement: statement})
		servicetest.Serve(t, s.Run)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err = inventoryv1.NewCatalogueClient(servicetest.Dial(t, cfg.GRPC.Addr)).ListProducts(ctx, &inventoryv1.ListProductsRequest{})
		return err
	}
	away := kerrors.FromError(call(limited, "DO 1"))
	assert.Equal(t, []any{int32(503), "TRY_LATER", "2"}, []any{away.Code, away.Reason, away.Metadata["retry_after"]})
	assert.NotContains(t, away.Message, "max_user_connections")
	wrong := kerrors.FromError(call(root, "DO nothing_there"))
	assert.EqualValues(t, 500, wrong.Code)
	assert.NotContains(t, wrong.Message, "nothing_there")
	require.NoError(t, held.Close())
	require.NoError(t, call(limited, "DO 1"))
}
