package idempotency_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// schema is the table that the package comment shows, and effects to count.
var schema = fstest.MapFS{"0001_t.sql": {Data: []byte(`-- +goose Up
CREATE TABLE idempotency (
  member_id  VARCHAR(64)   COLLATE utf8mb4_bin NOT NULL,
  path       VARCHAR(100)  COLLATE utf8mb4_bin NOT NULL,
  idem_key   VARCHAR(100)  COLLATE utf8mb4_bin NOT NULL,
  body_hash  VARBINARY(32) NOT NULL,
  code       INT           NOT NULL,
  reply      MEDIUMBLOB    NOT NULL,
  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  PRIMARY KEY (member_id, path, idem_key),
  KEY created_at (created_at)
) DEFAULT CHARSET = utf8mb4;
CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY);
`)}}

// as returns the context of a call by member with key.
func as(t *testing.T, member, key string) context.Context {
	return service.WithIdempotencyKey(identity.NewContext(t.Context(), identity.Caller{MemberID: member}), key)
}

// add is a handler: it adds a row and answers with its number, once for each key.
func add(ctx context.Context, db *sql.DB, path, req string) (*wrapperspb.Int64Value, error) {
	call, err := idempotency.New(db).Call(ctx, path, wrapperspb.String(req))
	if err != nil {
		return nil, err
	}
	if n, err := idempotency.Earlier[wrapperspb.Int64Value](ctx, call); n != nil || err != nil {
		return n, err
	}
	var reply *wrapperspb.Int64Value
	err = database.InTx(ctx, db, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "INSERT INTO effect VALUES ()")
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		reply = wrapperspb.Int64(id)
		return call.Keep(ctx, tx, 201, reply)
	})
	if errors.Is(err, idempotency.ErrAnswered) {
		return idempotency.Earlier[wrapperspb.Int64Value](ctx, call)
	}
	return reply, err
}

// TestOneEffect: calls at once and one after another with one key have one effect and one answer; member, path and key, compared byte by byte,
// and the request tell calls apart.
func TestOneEffect(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, schema)
	answers := make([]int64, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			n, err := add(as(t, "m-1", "k"), db, "things", "two")
			assert.NoError(t, err)
			answers[i] = n.GetValue()
		})
	}
	wg.Wait()
	effects := func() string { return mysqltest.Dump(t, db, "SELECT COUNT(*) FROM effect") }
	require.Equal(t, "1\n--\n", effects())
	for _, n := range answers {
		require.Equal(t, answers[0], n)
	}
	_, err := add(as(t, "m-1", "k"), db, "things", "three")
	require.Equal(t, "IDEMPOTENCY_KEY_REUSED", kerrors.Reason(err))
	require.Equal(t, 422, kerrors.Code(err))
	require.Equal(t, "1\n--\n", effects())
	for _, other := range [][3]string{
		{"m-2", "k", "things"}, {"m-1", "K", "things"}, {"m-1", "k", "Things"}, {"m-1", strings.Repeat("k", 100), "things"},
	} {
		n, err := add(as(t, other[0], other[1]), db, other[2], "two")
		require.NoError(t, err, "%q", other)
		require.NotEqual(t, answers[0], n.GetValue(), "%q", other)
	}
	require.Equal(t, "5\n--\n", effects())
	_, err = add(t.Context(), db, "things", "two")
	require.ErrorContains(t, err, "(idempotency.v1.key)")
	require.Equal(t, "5\n--\n", effects())
}

// TestRefusalIsAnAnswer: a refusal that was kept comes again as it was, and what was kept first stays.
func TestRefusalIsAnAnswer(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, schema)
	ctx := as(t, "m", "k")
	call, err := idempotency.New(db).Call(ctx, "things", wrapperspb.String("x"))
	require.NoError(t, err)
	n, err := idempotency.Earlier[wrapperspb.Int64Value](ctx, call)
	require.NoError(t, err)
	require.Nil(t, n)
	call.KeepLate(ctx, 409, &kerrors.Conflict("FULL", "there is no room").WithMetadata(map[string]string{"room": "0"}).Status)
	call.KeepLate(ctx, 200, wrapperspb.Int64(7))
	n, err = idempotency.Earlier[wrapperspb.Int64Value](ctx, call)
	require.Nil(t, n)
	got := kerrors.FromError(err)
	assert.Equal(t, []any{int32(409), "FULL", "there is no room", "0"}, []any{got.Code, got.Reason, got.Message, got.Metadata["room"]})
	require.ErrorIs(t, database.InTx(ctx, db, func(tx *sql.Tx) error { return call.Keep(ctx, tx, 200, wrapperspb.Int64(7)) }),
		idempotency.ErrAnswered)
}

// TestKeep: answers kept for a shorter time than calls are repeated are refused.
func TestKeep(t *testing.T) {
	t.Parallel()
	var cfg service.Config
	cfg.Log.Level = "error"
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	svc, err := service.New("shop", cfg)
	require.NoError(t, err)
	for keep, ok := range map[time.Duration]bool{0: true, idempotency.MinKeep: true, -1: false, idempotency.MinKeep - 1: false} {
		_, err := idempotency.Open(svc, nil, keep)
		assert.Equal(t, ok, err == nil, "%v: %v", keep, err)
		if !ok {
			assert.ErrorContains(t, err, "keep.answers")
		}
	}
}
