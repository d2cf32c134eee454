package main

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/ledger/ledgerlaws"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc/tcclaws"
)

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.MySQL.Wrap = faults.Wrap
	cfg.Faults = true // reflection says what is served
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers = "127.0.0.1:1" // a broker that is away does not keep the service from starting
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	keys, err := mac.Parse(cfg.BranchKeys)
	require.NoError(t, err)
	operator := servicetest.Bearer(t, signer, identity.Caller{MemberID: "m-1", Role: accessv1.Operator})
	ctx := metadata.NewOutgoingContext(t.Context(), metadata.New(operator))
	_, err = wmsv1.NewWarehouseClient(conn).ListDeliveries(ctx, &wmsv1.ListDeliveriesRequest{})
	require.NoError(t, err) // it serves, so its tables are there
	db, err := database.Open(database.Config{DSN: cfg.MySQL.DSN})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	slip := func(status string, make func(id string) proto.Message) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) {
			id := uuid.Must(uuid.NewV7()).String()
			for _, statement := range []string{
				"INSERT INTO delivery_slip (id, order_id, gid, status, address) VALUES (?, UUID(), '', '" + status + "', '')",
				"INSERT INTO delivery_line (slip_id, sku, quantity) VALUES (?, 'tea', 1)",
			} {
				_, err := db.ExecContext(t.Context(), statement, id)
				require.NoError(t, err)
			}
			return make(id), operator
		}
	}
	pick := func(id string) proto.Message { return &wmsv1.PickDeliveryRequest{Id: id} }
	calls := []servicetest.Call{
		{Method: wmsv1.Warehouse_ListDeliveries_FullMethodName, Make: slip("CREATED", func(string) proto.Message {
			return &wmsv1.ListDeliveriesRequest{PageSize: 1}
		})},
		{Method: wmsv1.Warehouse_PickDelivery_FullMethodName, Make: slip("CREATED", pick)},
		{Method: wmsv1.Warehouse_PickDelivery_FullMethodName, Case: "UNKNOWN", Make: slip("UNKNOWN", pick)},
		{Method: wmsv1.Warehouse_PickDelivery_FullMethodName, Case: "HELD", Make: slip("HELD", pick)},
		{Method: wmsv1.Warehouse_ShipDelivery_FullMethodName, Make: slip("PICKED", func(id string) proto.Message {
			return &wmsv1.ShipDeliveryRequest{Id: id}
		})},
		{Method: wmsv1.Warehouse_CompleteDelivery_FullMethodName, Make: slip("SHIPPED", func(id string) proto.Message {
			return &wmsv1.CompleteDeliveryRequest{Id: id}
		})},
		{Method: wmsv1.Warehouse_SetOpen_FullMethodName, Make: func(*testing.T) (proto.Message, map[string]string) {
			return &wmsv1.SetOpenRequest{Open: new(true)}, operator
		}},
	}
	calls = append(calls, ledgerlaws.Calls(keys)...)
	calls = append(calls, tcclaws.PhaseCalls(conn, keys, func(service, subject string) proto.Message {
		if service == wmsv1.SlipHold_ServiceDesc.ServiceName {
			return &wmsv1.SlipHoldRequest{OrderId: subject}
		}
		return &wmsv1.DeliverySlipRequest{OrderId: subject, Lines: []*wmsv1.DeliverySlipRequest_Line{{Sku: "tea", Quantity: 1}}}
	}, wmsv1.DeliverySlip_ServiceDesc.ServiceName, wmsv1.SlipHold_ServiceDesc.ServiceName)...)
	servicetest.NotKnown(t, conn, faults, calls, "mq.v1.Messages", "mq.v1.Sent")
}
