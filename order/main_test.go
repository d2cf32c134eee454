package main

import (
	"context"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	accessv1 "example.com/fourfold/api/access/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// TestConfig tests that the built-in configuration is accepted, and that times that do not go together are refused with a sentence that says
// which.
func TestConfig(t *testing.T) {
	t.Parallel()
	var good config
	require.NoError(t, service.Load("", defaults, &good))
	require.NoError(t, good.check())
	assert.Equal(t, 30*time.Minute, good.OrderTTL)
	assert.Equal(t, 100, good.OpenOrders)
	for name, set := range map[string]func(c *config){
		"call < deadline": func(c *config) { c.Payment.Call = c.Payment.Deadline },
		"timeout_to_fail": func(c *config) { c.Payment.TimeoutToFail = c.Payment.Deadline },
		"clocks":          func(c *config) { c.Payment.Deadline = c.Payment.TimeoutToFail - clocksApart + time.Millisecond },
		"whole seconds":   func(c *config) { c.Payment.TimeoutToFail += time.Millisecond },
		"grpc.timeout":    func(c *config) { c.GRPC.Timeout = c.Payment.Deadline },
		"order_ttl":       func(c *config) { c.OrderTTL = 0 },
		"open_orders":     func(c *config) { c.OpenOrders = -1 },
		"old_enough":      func(c *config) { c.Sweep.OldEnough = time.Second },
		"conservation":    func(c *config) { c.Conservation.Every = 0 },
	} {
		bad := good
		set(&bad)
		assert.ErrorContains(t, bad.check(), name)
	}
}

// TestOldRowsAreDeleted tests that rows that are done with and old are deleted in the background, and that the rest stays.
func TestOldRowsAreDeleted(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level = "127.0.0.1:0", "127.0.0.1:0", "error"
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, migrations.FS, messaging.Tables()...))
	for _, stmt := range []string{
		`INSERT INTO barrier (trans_type, gid, branch_id, op, barrier_id, create_time) VALUES
		('tcc', 'old', '01', 'try', '01', TIMESTAMPADD(DAY, -31, NOW())), ('tcc', 'young', '01', 'try', '01', TIMESTAMPADD(DAY, -29, NOW()))`,
		`INSERT INTO idempotency (member_id, path, idem_key, body_hash, code, reply, created_at) VALUES
		('m', 'orders', 'old', '', 201, '', TIMESTAMPADD(DAY, -8, NOW(3))), ('m', 'orders', 'young', '', 201, '', TIMESTAMPADD(DAY, -6, NOW(3)))`,
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	cfg.MQ.NameServers = "127.0.0.1:1" // a broker that is away does not keep the service from starting
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "young\n--\nyoung\n--\n", mysqltest.Dump(t, db, "SELECT gid FROM barrier", "SELECT idem_key FROM idempotency"))
	}, 20*time.Second, 20*time.Millisecond)

	cfg.Keep.Answers = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than anybody repeats a call")
	cfg.Keep.Barrier = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than the longest retry")
}

// TestTurnsAway tests that order itself, not only the gateway, checks the caller's identity and the request.
func TestTurnsAway(t *testing.T) {
	t.Parallel()
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers = "127.0.0.1:1" // a broker that is away does not keep the service from starting
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: accessv1.Shopper}, time.Now(), time.Minute)
	require.NoError(t, err)
	shopper := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	line := func(quantity int32) *orderv1.CreateOrderRequest {
		return &orderv1.CreateOrderRequest{Lines: []*orderv1.CreateOrderRequest_Line{{Sku: "apple", Quantity: quantity}}}
	}
	for _, call := range []struct {
		ctx    context.Context
		method string
		req    proto.Message
		code   int
		says   string
	}{
		{ctx, orderv1.Orders_GetOrder_FullMethodName, &orderv1.GetOrderRequest{Id: "o"}, 401, ""},
		{ctx, orderv1.Orders_PayOrder_FullMethodName, &orderv1.PayOrderRequest{Id: "o"}, 401, ""},
		{shopper, orderv1.Orders_GetOrder_FullMethodName, &orderv1.GetOrderRequest{Id: "o"}, 404, ""},
		{shopper, orderv1.Orders_RefundOrder_FullMethodName, &orderv1.RefundOrderRequest{Id: "o"}, 404, ""},
		{shopper, orderv1.Orders_CreateOrder_FullMethodName, line(1), 400, "Idempotency-Key"},
		{shopper, orderv1.Orders_PayOrder_FullMethodName, &orderv1.PayOrderRequest{Id: "o"}, 400, "Idempotency-Key"},
		{shopper, orderv1.Orders_CreateOrder_FullMethodName, line(0), 400, "lines[0].quantity"},
		{shopper, orderv1.Orders_ListOrders_FullMethodName, &orderv1.ListOrdersRequest{PageSize: 101}, 400, "page_size"},
		{ctx, orderv1.Conservation_CheckConservation_FullMethodName, &orderv1.CheckConservationRequest{}, 401, ""},
		{shopper, orderv1.Conservation_CheckConservation_FullMethodName, &orderv1.CheckConservationRequest{}, 403, ""},
		{shopper, orderv1.OrderPayment_Confirm_FullMethodName, &orderv1.OrderPaymentRequest{OrderId: "o"}, 403, ""},
		{shopper, orderv1.OrderRefund_Cancel_FullMethodName, &orderv1.OrderRefundRequest{OrderId: "o"}, 403, ""},
	} {
		err := conn.Invoke(call.ctx, call.method, call.req, new(emptypb.Empty))
		assert.Equal(t, call.code, kerrors.Code(err), "%s: %v", call.method, err)
		assert.ErrorContains(t, err, call.says, call.method)
	}
}
