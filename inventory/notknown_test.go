package main

import (
	"context"
	"maps"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
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
	keyed := func() map[string]string {
		headers := maps.Clone(operator)
		headers["idempotency-key"] = uuid.NewString()
		return headers
	}
	catalogue := inventoryv1.NewCatalogueClient(conn)
	product := func(t *testing.T) string {
		sku := uuid.NewString()
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.New(keyed()))
		_, err := catalogue.CreateProduct(ctx, &inventoryv1.CreateProductRequest{Sku: sku, Name: "tea", PriceCents: 500})
		require.NoError(t, err)
		_, err = catalogue.ReceiveStock(ctx, &inventoryv1.ReceiveStockRequest{Sku: sku, Quantity: 1000})
		require.NoError(t, err)
		return sku
	}
	tea := product(t)
	about := func(make func(sku string) proto.Message) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) { return make(product(t)), operator }
	}
	calls := []servicetest.Call{
		{Method: inventoryv1.Catalogue_ListProducts_FullMethodName, Make: func(*testing.T) (proto.Message, map[string]string) {
			return &inventoryv1.ListProductsRequest{PageSize: 1}, nil
		}},
		{Method: inventoryv1.Catalogue_GetProduct_FullMethodName, Make: about(func(sku string) proto.Message {
			return &inventoryv1.GetProductRequest{Sku: sku}
		})},
		{Method: inventoryv1.Catalogue_GetProduct_FullMethodName, Case: "unknown", Make: about(func(string) proto.Message {
			return &inventoryv1.GetProductRequest{Sku: "nothing"}
		})},
		{Method: inventoryv1.Catalogue_PriceProducts_FullMethodName, Make: about(func(sku string) proto.Message {
			return &inventoryv1.PriceProductsRequest{Skus: []string{sku, "nothing"}}
		})},
		{Method: inventoryv1.Catalogue_CreateProduct_FullMethodName, Make: func(*testing.T) (proto.Message, map[string]string) {
			return &inventoryv1.CreateProductRequest{Sku: uuid.NewString(), Name: "tea", PriceCents: 500}, operator
		}},
		{Method: inventoryv1.Catalogue_CreateProduct_FullMethodName, Case: "twice", Make: about(func(sku string) proto.Message {
			return &inventoryv1.CreateProductRequest{Sku: sku, Name: "tea", PriceCents: 500}
		})},
		{Method: inventoryv1.Catalogue_ChangeProduct_FullMethodName, Make: about(func(sku string) proto.Message {
			return &inventoryv1.ChangeProductRequest{Sku: sku, PriceCents: new(int64(600))}
		})},
		{Method: inventoryv1.Catalogue_ReceiveStock_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &inventoryv1.ReceiveStockRequest{Sku: product(t), Quantity: 5}, keyed()
		}},
		{Method: inventoryv1.Catalogue_GetStock_FullMethodName, Make: about(func(sku string) proto.Message {
			return &inventoryv1.GetStockRequest{Sku: sku}
		})},
	}
	calls = append(calls, ledgerlaws.Calls(keys)...)
	calls = append(calls, tcclaws.PhaseCalls(conn, keys, func(service, subject string) proto.Message {
		if service == inventoryv1.StockReturn_ServiceDesc.ServiceName {
			return &inventoryv1.StockReturnRequest{OrderId: subject}
		}
		return &inventoryv1.StockFreezeRequest{OrderId: subject, Lines: []*inventoryv1.StockFreezeRequest_Line{{Sku: tea, Quantity: 1}}}
	}, inventoryv1.StockFreeze_ServiceDesc.ServiceName, inventoryv1.StockReturn_ServiceDesc.ServiceName)...)
	servicetest.NotKnown(t, conn, faults, calls, "mq.v1.Messages", "mq.v1.Sent")
}
