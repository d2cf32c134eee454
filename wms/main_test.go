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
	wmsv1 "example.com/fourfold/api/wms/v1"
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
	"example.com/fourfold/wms/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// TestServes runs the service on ports of its own and talks to it as the gateway and order do.
func TestServes(t *testing.T) {
	t.Parallel()
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	branchKeys, err := mac.Parse(cfg.BranchKeys)
	require.NoError(t, err)
	server, began := rocketmqtest.Shared(t), time.Now()
	cfg.MQ.NameServers = server.NameServer
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	server.Create(t, eventv1.TopicDeliveries)
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	warehouse, branch, refund := wmsv1.NewWarehouseClient(conn), wmsv1.NewDeliverySlipClient(conn), wmsv1.NewSlipHoldClient(conn)

	as := func(role identity.Role) context.Context {
		token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: role}, time.Now(), time.Minute)
		require.NoError(t, err)
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	_, err = warehouse.ListDeliveries(ctx, &wmsv1.ListDeliveriesRequest{})
	assert.Equal(t, 401, kerrors.Code(err), "%v", err)
	_, err = warehouse.ListDeliveries(as(accessv1.Shopper), &wmsv1.ListDeliveriesRequest{})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = warehouse.ListDeliveries(as(accessv1.Operator), &wmsv1.ListDeliveriesRequest{PageToken: "x"})
	assert.Equal(t, codes.InvalidArgument, status.Code(err))
	assert.ErrorContains(t, err, "page_token")
	_, err = warehouse.SetOpen(as(accessv1.Operator), &wmsv1.SetOpenRequest{})
	assert.Equal(t, codes.InvalidArgument, status.Code(err), "who says nothing must not close it")
	assert.ErrorContains(t, err, "open: ")
	state, err := warehouse.SetOpen(as(accessv1.Operator), &wmsv1.SetOpenRequest{Open: new(false)})
	require.NoError(t, err)
	assert.False(t, state.GetOpen())

	request := &wmsv1.DeliverySlipRequest{OrderId: "order-1", Lines: []*wmsv1.DeliverySlipRequest_Line{{Sku: "apple", Quantity: 1}}}
	refundRequest := &wmsv1.SlipHoldRequest{OrderId: "order-1"}
	phaseOf := func(gid, op, service string, request proto.Message) context.Context {
		payload, err := proto.Marshal(request)
		require.NoError(t, err)
		call := tcc.Call{GID: gid, Branch: "04", Phase: tcc.Phase(op), Service: service, Subject: "order-1", Payload: payload}
		return metadata.NewOutgoingContext(ctx, metadata.New(call.Headers(branchKeys)))
	}
	phase := func(op string) context.Context { return phaseOf("gid-1", op, "wms.v1.DeliverySlip", request) }
	refundPhase := func(gid, op string) context.Context { return phaseOf(gid, op, "wms.v1.SlipHold", refundRequest) }
	_, err = branch.Try(phase("try"), request)
	assert.Equal(t, codes.Aborted, status.Code(err), "the coordinator's word for refused")
	assert.True(t, wmsv1.IsDeliveryRefused(err), "%v", err)
	_, err = warehouse.SetOpen(as(accessv1.Operator), &wmsv1.SetOpenRequest{Open: new(true)})
	require.NoError(t, err)
	_, err = branch.Try(phase("try"), request)
	require.NoError(t, err)
	list, err := warehouse.ListDeliveries(as(accessv1.Operator), &wmsv1.ListDeliveriesRequest{OrderId: "order-1"})
	require.NoError(t, err)
	assert.Empty(t, list.GetDeliveries(), "an open payment's slip is nobody's business")
	_, err = branch.Confirm(phase("confirm"), request)
	require.NoError(t, err)
	list, err = warehouse.ListDeliveries(as(accessv1.Operator), &wmsv1.ListDeliveriesRequest{OrderId: "order-1"})
	require.NoError(t, err)
	require.Len(t, list.GetDeliveries(), 1)
	assert.Equal(t, wmsv1.Delivery_CREATED, list.GetDeliveries()[0].GetStatus())

	id, operator := list.GetDeliveries()[0].GetId(), as(accessv1.Operator)
	_, err = refund.Try(refundPhase("gid-2", "try"), refundRequest)
	require.NoError(t, err)
	_, err = warehouse.PickDelivery(operator, &wmsv1.PickDeliveryRequest{Id: id})
	assert.Equal(t, codes.Aborted, status.Code(err))
	assert.True(t, wmsv1.IsDeliveryState(err), "%v", err)
	_, err = refund.Cancel(refundPhase("gid-2", "cancel"), refundRequest)
	require.NoError(t, err)
	_, err = warehouse.PickDelivery(as(accessv1.Shopper), &wmsv1.PickDeliveryRequest{Id: id})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = warehouse.PickDelivery(operator, &wmsv1.PickDeliveryRequest{Id: id})
	require.NoError(t, err)
	_, err = refund.Try(refundPhase("gid-3", "try"), refundRequest)
	assert.Equal(t, codes.Aborted, status.Code(err), "%v", err)
	_, err = warehouse.ShipDelivery(operator, &wmsv1.ShipDeliveryRequest{Id: id})
	require.NoError(t, err)
	delivered, err := warehouse.CompleteDelivery(operator, &wmsv1.CompleteDeliveryRequest{Id: id})
	require.NoError(t, err)
	assert.Equal(t, wmsv1.Delivery_DELIVERED, delivered.GetStatus())
	broker := server.Broker(t, "reader")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var told []string
		events, err := mqtest.Events(ctx, broker, eventv1.TopicDeliveries, began)
		assert.NoError(c, err)
		for _, e := range events {
			one := fmt.Sprint(e.Subject, " ", e.Sequence, " ", e.Type)
			if !slices.Contains(told, one) { // a send that the broker was slow to acknowledge is repeated
				told = append(told, one)
			}
		}
		assert.Equal(c, []string{"order-1 1 delivery.shipped", "order-1 2 delivery.delivered"}, told)
	}, 20*time.Second, 50*time.Millisecond)
}

// TestDefaults tests that the built-in configuration fits the struct.
func TestDefaults(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	assert.Positive(t, cfg.GRPC.Timeout)
	assert.NotEmpty(t, cfg.GRPC.Addr)
	assert.NotEmpty(t, cfg.Admin.Addr)
	assert.NotEmpty(t, cfg.MySQL.DSN)
	assert.Positive(t, cfg.MySQL.MaxConns)
	assert.NotEmpty(t, cfg.MQ.NameServers)
	cfg.BranchKeys = "k1:00112233445566778899aabbccddeeff"
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	cfg.Keep.Messages = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than the broker keeps messages")
}

// TestOldRowsAreDeleted tests that rows that are done with and old are deleted in the background, and that an event that the broker does not
// have stays for as long as it takes.
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
		`INSERT INTO mq_outbox (event_id, topic, subject, event, state, created_at, next_at, closed_at) VALUES
		('old', '', 'o-1', '{}', 'SENT', '2020-01-01', '2020-01-01', TIMESTAMPADD(DAY, -8, NOW(3))),
		('young', '', 'o-1', '{}', 'SENT', '2020-01-01', '2020-01-01', TIMESTAMPADD(DAY, -6, NOW(3))),
		('not sent', '', 'o-1', '{}', 'READY', '2020-01-01', TIMESTAMPADD(DAY, 1, NOW(3)), NULL)`,
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "young\n--\nyoung\nnot sent\n--\n",
			mysqltest.Dump(t, db, "SELECT gid FROM barrier", "SELECT event_id FROM mq_outbox ORDER BY id"))
	}, 20*time.Second, 20*time.Millisecond)

	cfg.Keep.Barrier = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than the longest retry")
}
