package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/inventory/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// TestServes runs the service on ports of its own and talks to it as order and the coordinator do: an order is paid and refunded.
func TestServes(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	dir, signer := servicetest.Keys(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	server, began := rocketmqtest.Shared(t), time.Now()
	cfg.MQ.NameServers = server.NameServer
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	server.Create(t, eventv1.TopicProducts)
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	conn := servicetest.Dial(t, cfg.GRPC.Addr)

	catalogue := inventoryv1.NewCatalogueClient(conn)
	_, err := catalogue.ListProducts(ctx, &inventoryv1.ListProductsRequest{})
	require.NoError(t, err)
	_, err = catalogue.GetStock(ctx, &inventoryv1.GetStockRequest{Sku: "apple"})
	assert.Equal(t, 401, kerrors.Code(err), "%v", err)
	token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: accessv1.Shopper}, time.Now(), time.Minute)
	require.NoError(t, err)
	shopper := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	_, err = catalogue.CreateProduct(shopper, &inventoryv1.CreateProductRequest{Sku: "pear", Name: "pear", PriceCents: 1})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = catalogue.ReceiveStock(shopper, &inventoryv1.ReceiveStockRequest{Sku: "apple", Quantity: 1})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = catalogue.GetStock(shopper, &inventoryv1.GetStockRequest{Sku: "apple"})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = catalogue.ListProducts(ctx, &inventoryv1.ListProductsRequest{PageSize: 101})
	assert.Equal(t, 400, kerrors.Code(err), "%v", err)
	assert.ErrorContains(t, err, "page_size")

	token, err = signer.Sign(identity.Caller{MemberID: "m-2", Role: accessv1.Operator}, time.Now(), time.Minute)
	require.NoError(t, err)
	operator := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	_, err = catalogue.CreateProduct(operator, &inventoryv1.CreateProductRequest{Sku: "pear", Name: "pear", PriceCents: 1})
	require.NoError(t, err)
	_, err = catalogue.ChangeProduct(shopper, &inventoryv1.ChangeProductRequest{Sku: "pear", PriceCents: new(int64(2))})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	for _, price := range []int64{0, -1, 1_000_000_001} {
		_, err = catalogue.ChangeProduct(operator, &inventoryv1.ChangeProductRequest{Sku: "pear", PriceCents: &price})
		assert.Equal(t, 400, kerrors.Code(err), "%v", err)
		assert.ErrorContains(t, err, "price_cents")
	}
	_, err = catalogue.ChangeProduct(operator, &inventoryv1.ChangeProductRequest{Sku: "pear", PriceCents: new(int64(2))})
	require.NoError(t, err)
	broker := server.Broker(t, "reader")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var told []string
		events, err := mqtest.Events(ctx, broker, eventv1.TopicProducts, began)
		assert.NoError(c, err)
		for _, e := range events {
			one := fmt.Sprint(e.Subject, " ", e.Sequence, " ", e.Type)
			if !slices.Contains(told, one) { // a send that the broker was slow to acknowledge is repeated
				told = append(told, one)
			}
		}
		assert.Equal(c, []string{"pear 1 product.changed", "pear 2 product.changed"}, told)
	}, 20*time.Second, 50*time.Millisecond)

	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(ctx, "INSERT INTO stock (sku, sellable, received) VALUES ('apple', 100, 100)")
	require.NoError(t, err)
	books := func() string {
		return mysqltest.Dump(t, db, "SELECT sellable, frozen, sold FROM stock WHERE sku = 'apple'", "SELECT status FROM stock_freeze")
	}

	keys, err := mac.Parse(cfg.BranchKeys)
	require.NoError(t, err)
	phase := func(gid, op, service string, request proto.Message) context.Context {
		payload, err := proto.Marshal(request)
		require.NoError(t, err)
		call := tcc.Call{GID: gid, Branch: "02", Phase: tcc.Phase(op), Service: service, Subject: "order-1", Payload: payload}
		return metadata.NewOutgoingContext(ctx, metadata.New(call.Headers(keys)))
	}
	payment, paid := inventoryv1.NewStockFreezeClient(conn), &inventoryv1.StockFreezeRequest{
		OrderId: "order-1", Lines: []*inventoryv1.StockFreezeRequest_Line{{Sku: "apple", Quantity: 2}},
	}
	refund, refunded := inventoryv1.NewStockReturnClient(conn), &inventoryv1.StockReturnRequest{OrderId: "order-1"}
	payPhase := func(op string) context.Context { return phase("pay-1", op, "inventory.v1.StockFreeze", paid) }
	refundPhase := func(op string) context.Context { return phase("refund-1", op, "inventory.v1.StockReturn", refunded) }
	_, err = payment.Try(payPhase("try"), paid)
	require.NoError(t, err)
	_, err = refund.Try(refundPhase("try"), refunded)
	assert.Equal(t, codes.Aborted, status.Code(err), "the coordinator's word for refused")
	assert.True(t, inventoryv1.IsStockNotSold(err), "%v", err)
	_, err = payment.Confirm(payPhase("confirm"), paid)
	require.NoError(t, err)
	_, err = refund.Try(refundPhase("try"), refunded)
	require.NoError(t, err)
	require.Equal(t, "98 0 2\n--\nRETURNING\n--\n", books())
	_, err = refund.Confirm(refundPhase("confirm"), refunded)
	require.NoError(t, err)
	require.Equal(t, "100 0 0\n--\nRETURNED\n--\n", books())
}

// TestOldRowsAreDeleted tests that rows that are done with and old are deleted in the background, and that the rest stays.
func TestOldRowsAreDeleted(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.MQ.NameServers = "127.0.0.1:0", "127.0.0.1:0", "error", "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, migrations.FS, mq.Tables()))
	for _, stmt := range []string{
		`INSERT INTO barrier (trans_type, gid, branch_id, op, barrier_id, create_time) VALUES
		('tcc', 'old', '01', 'try', '01', TIMESTAMPADD(DAY, -31, NOW())), ('tcc', 'young', '01', 'try', '01', TIMESTAMPADD(DAY, -29, NOW()))`,
		`INSERT INTO idempotency (member_id, path, idem_key, body_hash, code, reply, created_at) VALUES
		('m', 'p', 'old', '', 200, '', TIMESTAMPADD(DAY, -8, NOW(3))), ('m', 'p', 'young', '', 200, '', TIMESTAMPADD(DAY, -6, NOW(3)))`,
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "young\n--\nyoung\n--\n", mysqltest.Dump(t, db, "SELECT gid FROM barrier", "SELECT idem_key FROM idempotency"))
	}, 20*time.Second, 20*time.Millisecond)

	cfg.Keep.Answers = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than anybody repeats a call")
	cfg.Keep.Barrier = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than the longest retry")
}
