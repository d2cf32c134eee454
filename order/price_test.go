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
	"google.golang.org/grpc/metadata"

	accessv1 "example.com/fourfold/api/access/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// shop is inventory's catalogue: one product, and a price that shows who answered.
type shop struct {
	inventoryv1.UnimplementedCatalogueServer
	asked chan []string
}

func (s shop) PriceProducts(_ context.Context, req *inventoryv1.PriceProductsRequest) (*inventoryv1.PriceProductsReply, error) {
	s.asked <- req.GetSkus()
	reply := &inventoryv1.PriceProductsReply{}
	for _, sku := range req.GetSkus() {
		if sku == "pear" {
			reply.Products = append(reply.Products, &inventoryv1.Product{Sku: sku, Name: "from inventory", PriceCents: 7})
		}
	}
	return reply, nil
}

// TestOrdersWithoutInventory tests that new orders cost what order was told of products, and that only a product that it was not told of is
// asked of inventory and waits for it.
func TestOrdersWithoutInventory(t *testing.T) {
	t.Parallel()
	server := rocketmqtest.Shared(t)
	for _, topic := range eventv1.Topics() {
		server.Create(t, topic)
	}
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers, cfg.Peers["inventory"] = server.NameServer, servicetest.FreeAddr(t)
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: accessv1.Shopper}, time.Now(), time.Minute)
	require.NoError(t, err)
	calls := 0
	create := func(skus ...string) (*orderv1.Order, error) {
		calls++
		req := &orderv1.CreateOrderRequest{}
		for _, sku := range skus {
			req.Lines = append(req.Lines, &orderv1.CreateOrderRequest_Line{Sku: sku, Quantity: 1})
		}
		return orderv1.NewOrdersClient(conn).CreateOrder(metadata.AppendToOutgoingContext(ctx,
			"authorization", "Bearer "+token, "idempotency-key", fmt.Sprint("call-", calls)), req)
	}
	_, err = create("apple")
	require.True(t, orderv1.IsTryLater(err), "order was told of nothing, and inventory is away: %v", err)

	broker := server.Dial(t)
	tell := func(seq, cents int64) {
		data, err := mq.Data(&eventv1.ProductChanged{Sku: "apple", Name: "苹果", PriceCents: cents})
		require.NoError(t, err)
		require.NoError(t, broker.Publish(ctx, eventv1.TopicProducts, mq.Event{ID: mq.NewID(), Source: "/inventory",
			Type: eventv1.TypeProductChanged, Subject: "apple", Sequence: seq, Time: time.Now(), Data: data}))
	}
	await := func(cents int64) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			o, err := create("apple")
			assert.NoError(c, err)
			assert.Equal(c, cents, o.GetTotalCents())
		}, 30*time.Second, 50*time.Millisecond)
	}
	tell(1, 100)
	await(100)
	tell(3, 300)
	await(300)
	tell(2, 200)
	o, err := create("apple")
	require.NoError(t, err)
	require.Equal(t, "苹果 300", fmt.Sprint(o.GetLines()[0].GetName(), " ", o.GetTotalCents()))
	_, err = create("apple", "pear")
	require.True(t, orderv1.IsTryLater(err), "%v", err)
	require.Equal(t, 503, kerrors.Code(err))

	lis, err := net.Listen("tcp", cfg.Peers["inventory"])
	require.NoError(t, err)
	inventory, grpcServer := shop{asked: make(chan []string, 10)}, grpc.NewServer()
	inventoryv1.RegisterCatalogueServer(grpcServer, inventory)
	go func() { _ = grpcServer.Serve(lis) }()
	t.Cleanup(grpcServer.Stop)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		o, err := create("apple", "pear")
		assert.NoError(c, err)
		assert.EqualValues(c, 307, o.GetTotalCents())
	}, 30*time.Second, 50*time.Millisecond)
	assert.Equal(t, []string{"pear"}, <-inventory.asked, "not about what order knows")
	_, err = create("apple", "plum")
	require.Equal(t, 400, kerrors.Code(err), "%v", err)
	require.ErrorContains(t, err, `"plum"`)
}
