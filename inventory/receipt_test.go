package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// warehouse is a running inventory, called by an operator.
type warehouse struct {
	catalogue inventoryv1.CatalogueClient
	ctx       context.Context
}

// open runs inventory over the database at, which gets the product "tea".
func open(t *testing.T, at database.Config) warehouse {
	t.Helper()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", at
	dir, signer := servicetest.Keys(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers = "127.0.0.1:1" // no broker listens there
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	token, err := signer.Sign(identity.Caller{MemberID: "m-2", Role: accessv1.Operator}, time.Now(), time.Minute)
	require.NoError(t, err)
	w := warehouse{inventoryv1.NewCatalogueClient(servicetest.Dial(t, cfg.GRPC.Addr)),
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)}
	_, err = w.catalogue.CreateProduct(w.ctx, &inventoryv1.CreateProductRequest{Sku: "tea", Name: "tea", PriceCents: 1})
	require.NoError(t, err)
	return w
}

// receive books quantity units of sku under key.
func (w warehouse) receive(key, sku string, quantity int64) (*inventoryv1.Stock, error) {
	ctx := w.ctx
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
	}
	return w.catalogue.ReceiveStock(ctx, &inventoryv1.ReceiveStockRequest{Sku: sku, Quantity: quantity})
}

func (w warehouse) received(t *testing.T, sku string) int64 {
	t.Helper()
	s, err := w.catalogue.GetStock(w.ctx, &inventoryv1.GetStockRequest{Sku: sku})
	require.NoError(t, err)
	assert.Equal(t, s.GetReceived(), s.GetSellable())
	return s.GetReceived()
}

// TestReceiptWhoseAnswerIsLost: the database booked the goods and its answer is lost, so the caller is told to try again. Who does so with the
// same key finds them booked once.
func TestReceiptWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	at := mysqltest.Config(t)
	via, lose, lost := mysqltest.LoseAnswers(t, at.DSN, "COMMIT")
	at.DSN = via
	w := open(t, at)
	// Background work of the service commits too, and may meet the loss in place of the call.
	var err error
	for i := int64(1); ; i++ {
		key := fmt.Sprint("receipt-", i)
		lose()
		if _, err = w.receive(key, "tea", 100); err != nil {
			again, err := w.receive(key, "tea", 100)
			require.NoError(t, err)
			assert.Equal(t, 100*i, again.GetReceived())
			assert.Equal(t, 100*i, w.received(t, "tea"))
			break
		}
	}
	assert.Positive(t, lost())
	assert.EqualValues(t, 503, kerrors.Code(err), "%v", err)
	assert.Equal(t, "TRY_LATER", kerrors.Reason(err))
	assert.ErrorContains(t, err, "with the same Idempotency-Key")
}

// TestReceiptKeys: twenty calls at once with one key book once and are answered the same; a key belongs to one request of one product; a call
// that was refused does not use its key up.
func TestReceiptKeys(t *testing.T) {
	t.Parallel()
	w := open(t, mysqltest.Config(t))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := w.receive("note-7", "tea", 100)
			assert.NoError(t, err)
			assert.True(t, proto.Equal(&inventoryv1.Stock{Sku: "tea", Sellable: 100, Received: 100}, s), "%v", s)
		})
	}
	wg.Wait()
	require.EqualValues(t, 100, w.received(t, "tea"))

	_, err := w.receive("note-7", "tea", 99)
	assert.Equal(t, "IDEMPOTENCY_KEY_REUSED", kerrors.Reason(err), "%v", err)
	_, err = w.receive("", "tea", 100)
	assert.Equal(t, "IDEMPOTENCY_KEY", kerrors.Reason(err), "%v", err)
	_, err = w.receive("two words", "tea", 100)
	assert.Equal(t, "IDEMPOTENCY_KEY", kerrors.Reason(err), "%v", err)
	_, err = w.receive("note-8", "cup", 100)
	assert.Equal(t, 404, kerrors.Code(err), "%v", err)
	require.EqualValues(t, 100, w.received(t, "tea"))

	_, err = w.catalogue.CreateProduct(w.ctx, &inventoryv1.CreateProductRequest{Sku: "cup", Name: "cup", PriceCents: 1})
	require.NoError(t, err)
	for _, key := range []string{"note-8", "note-7"} {
		_, err = w.receive(key, "cup", 5)
		require.NoError(t, err)
	}
	require.EqualValues(t, 10, w.received(t, "cup"))
	first, err := w.receive("note-7", "tea", 100)
	require.NoError(t, err)
	assert.EqualValues(t, 100, first.GetReceived())
	_, err = w.receive("note-9", "tea", 1)
	require.NoError(t, err)
	again, err := w.receive("note-7", "tea", 100)
	require.NoError(t, err)
	assert.True(t, proto.Equal(first, again), "the answer is as it was then: %v", again)
	require.EqualValues(t, 101, w.received(t, "tea"))
}
