package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestServes runs the service on ports of its own and speaks to it as the gateway and order do.
func TestServes(t *testing.T) {
	t.Parallel()
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysql.Config{DSN: mysqltest.DSN(t)}
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	branchKeys, err := tcc.ParseKeys(cfg.BranchKeys)
	require.NoError(t, err)
	order := newOrder(t, branchKeys)
	cfg.Peers.Order = order.addr
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
	warehouse, branch, refund := wmsv1.NewWarehouseClient(conn), wmsv1.NewDeliverySlipClient(conn), wmsv1.NewSlipHoldClient(conn)

	as := func(role identity.Role) context.Context {
		token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: role}, time.Now(), time.Minute)
		require.NoError(t, err)
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	_, err = warehouse.ListDeliveries(ctx, &wmsv1.ListDeliveriesRequest{})
	assert.Equal(t, 401, kerrors.Code(err), "%v", err)
	_, err = warehouse.ListDeliveries(as(identity.Shopper), &wmsv1.ListDeliveriesRequest{})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = warehouse.ListDeliveries(as(identity.Operator), &wmsv1.ListDeliveriesRequest{PageToken: "x"})
	assert.Equal(t, codes.InvalidArgument, status.Code(err))
	assert.ErrorContains(t, err, "page_token")
	_, err = warehouse.SetOpen(as(identity.Operator), &wmsv1.SetOpenRequest{})
	assert.Equal(t, codes.InvalidArgument, status.Code(err), "who says nothing must not close it")
	assert.ErrorContains(t, err, "open: ")
	state, err := warehouse.SetOpen(as(identity.Operator), &wmsv1.SetOpenRequest{Open: new(false)})
	require.NoError(t, err)
	assert.False(t, state.GetOpen())

	phaseOf := func(gid, op string) context.Context {
		call := metadata.New(branchKeys.Headers(gid, "order-1"))
		call.Set("dtm-gid", gid)
		call.Set("dtm-branch_id", "04")
		call.Set("dtm-op", op)
		return metadata.NewOutgoingContext(ctx, call)
	}
	phase := func(op string) context.Context { return phaseOf("gid-1", op) }
	request := &wmsv1.DeliverySlipRequest{OrderId: "order-1", Lines: []*wmsv1.DeliverySlipRequest_Line{{Sku: "apple", Quantity: 1}}}
	_, err = branch.Try(phase("try"), request)
	assert.Equal(t, codes.Aborted, status.Code(err), "the coordinator's word for refused")
	assert.True(t, wmsv1.IsDeliveryRefused(err), "%v", err)
	_, err = warehouse.SetOpen(as(identity.Operator), &wmsv1.SetOpenRequest{Open: new(true)})
	require.NoError(t, err)
	_, err = branch.Try(phase("try"), request)
	require.NoError(t, err)
	list, err := warehouse.ListDeliveries(as(identity.Operator), &wmsv1.ListDeliveriesRequest{OrderId: "order-1"})
	require.NoError(t, err)
	assert.Empty(t, list.GetDeliveries(), "an open payment's slip is nobody's business")
	_, err = branch.Confirm(phase("confirm"), request)
	require.NoError(t, err)
	list, err = warehouse.ListDeliveries(as(identity.Operator), &wmsv1.ListDeliveriesRequest{OrderId: "order-1"})
	require.NoError(t, err)
	require.Len(t, list.GetDeliveries(), 1)
	assert.Equal(t, wmsv1.Delivery_CREATED, list.GetDeliveries()[0].GetStatus())

	id, operator := list.GetDeliveries()[0].GetId(), as(identity.Operator)
	_, err = refund.Try(phaseOf("gid-2", "try"), &wmsv1.SlipHoldRequest{OrderId: "order-1"})
	require.NoError(t, err)
	_, err = warehouse.PickDelivery(operator, &wmsv1.PickDeliveryRequest{Id: id})
	assert.Equal(t, codes.Aborted, status.Code(err))
	assert.True(t, wmsv1.IsDeliveryState(err), "%v", err)
	_, err = refund.Cancel(phaseOf("gid-2", "cancel"), &wmsv1.SlipHoldRequest{OrderId: "order-1"})
	require.NoError(t, err)
	_, err = warehouse.PickDelivery(as(identity.Shopper), &wmsv1.PickDeliveryRequest{Id: id})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = warehouse.PickDelivery(operator, &wmsv1.PickDeliveryRequest{Id: id})
	require.NoError(t, err)
	_, err = refund.Try(phaseOf("gid-3", "try"), &wmsv1.SlipHoldRequest{OrderId: "order-1"})
	assert.Equal(t, codes.Aborted, status.Code(err), "%v", err)
	_, err = warehouse.ShipDelivery(operator, &wmsv1.ShipDeliveryRequest{Id: id})
	require.NoError(t, err)
	delivered, err := warehouse.CompleteDelivery(operator, &wmsv1.CompleteDeliveryRequest{Id: id})
	require.NoError(t, err)
	assert.Equal(t, wmsv1.Delivery_DELIVERED, delivered.GetStatus())
	for _, want := range []string{"order-1 1 SHIPPED", "order-1 2 DELIVERED"} {
		select {
		case got := <-order.told:
			assert.Equal(t, want, got)
		case <-ctx.Done():
			t.Fatal("order was not told ", want)
		}
	}
}

// order is the other service's end: it writes down what it is told.
type order struct {
	orderv1.UnimplementedDeliveryEventsServer
	addr string
	keys tcc.Keys
	told chan string
}

func newOrder(t *testing.T, keys tcc.Keys) *order {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := &order{addr: lis.Addr().String(), keys: keys, told: make(chan string, 10)}
	server := grpc.NewServer()
	orderv1.RegisterDeliveryEventsServer(server, o)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return o
}

func (o *order) Deliver(ctx context.Context, e *orderv1.DeliveryEvent) (*emptypb.Empty, error) {
	if err := o.keys.CheckCall(ctx, orderv1.DeliveryEvents_Deliver_FullMethodName,
		e.GetEventId(), e.GetOrderId(), fmt.Sprint(e.GetSeq()), e.GetType().String()); err != nil {
		return nil, err
	}
	o.told <- fmt.Sprint(e.GetOrderId(), " ", e.GetSeq(), " ", e.GetType())
	return &emptypb.Empty{}, nil
}

// TestDefaults: the built-in configuration fits the struct.
func TestDefaults(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	assert.Positive(t, cfg.GRPC.Timeout.D())
	assert.NotEmpty(t, cfg.GRPC.Addr)
	assert.NotEmpty(t, cfg.Admin.Addr)
	assert.NotEmpty(t, cfg.MySQL.DSN)
	assert.Positive(t, cfg.MySQL.MaxConns)
	assert.NotEmpty(t, cfg.Peers.Order)
	assert.Positive(t, cfg.Relay.Alert.D())
	require.NoError(t, cfg.check())
	cfg.Relay.Lease = 2 * cfg.Relay.Call
	require.ErrorContains(t, cfg.check(), "lease")
}

// TestOldRowsAreDeleted: what is done with and old goes in the background; an event that order has not taken stays
// for as long as it takes.
func TestOldRowsAreDeleted(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysql.Config{DSN: mysqltest.DSN(t)}
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level = "127.0.0.1:0", "127.0.0.1:0", "error"
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	db, err := mysql.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, mysql.Migrate(t.Context(), db, migrations.FS))
	for _, stmt := range []string{
		`INSERT INTO barrier (trans_type, gid, branch_id, op, barrier_id, create_time) VALUES
		('tcc', 'old', '01', 'try', '01', TIMESTAMPADD(DAY, -31, NOW())), ('tcc', 'young', '01', 'try', '01', TIMESTAMPADD(DAY, -29, NOW()))`,
		`INSERT INTO outbox (event_id, event_type, order_id, seq, created_at, next_at, delivered_at) VALUES
		('old', '', 'o-1', 1, '2020-01-01', '2020-01-01', TIMESTAMPADD(DAY, -8, NOW(3))),
		('young', '', 'o-1', 2, '2020-01-01', '2020-01-01', TIMESTAMPADD(DAY, -6, NOW(3))),
		('not taken', '', 'o-1', 3, '2020-01-01', TIMESTAMPADD(DAY, 1, NOW(3)), NULL)`,
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-stopped)
	})
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "young\n--\nyoung\nnot taken\n--\n", mysqltest.Dump(t, db, "SELECT gid FROM barrier", "SELECT event_id FROM outbox ORDER BY seq"))
	}, 20*time.Second, 20*time.Millisecond)

	cfg.KeepBarrier = service.Duration(time.Hour)
	require.ErrorContains(t, run(t.Context(), cfg), "longer than the longest retry")
}
