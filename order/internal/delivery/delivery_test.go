package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/delivery"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestEvents delivers every event in every status: what is too early has to come again, what is late changes nothing.
func TestEvents(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	store := mysql.NewStore(db)
	keys, err := tcc.ParseKeys("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	events := delivery.New(keys, store)
	o, err := order.New("order-1", "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, time.Hour, mysql.Key{Key: "k"}, func(order.Order) (mysql.Answer, error) {
		return mysql.Answer{Hash: []byte{0}, Reply: []byte{0}}, nil
	}))
	deliver := func(typ orderv1.DeliveryEvent_Type) error {
		ev := &orderv1.DeliveryEvent{EventId: "e", OrderId: "order-1", Seq: 1, Type: typ}
		_, err := events.Deliver(signed(keys, ev), ev)
		return err
	}
	const shipped, delivered = orderv1.DeliveryEvent_SHIPPED, orderv1.DeliveryEvent_DELIVERED
	for status, want := range map[order.Status]map[orderv1.DeliveryEvent_Type]order.Status{
		order.Created:   {},
		order.Updating:  {},
		order.Paid:      {shipped: order.Shipped},
		order.Shipped:   {shipped: order.Shipped, delivered: order.Completed},
		order.Completed: {shipped: order.Completed, delivered: order.Completed},
		order.Refunding: {},
		order.Refunded:  {},
		order.Canceled:  {},
	} {
		for _, typ := range []orderv1.DeliveryEvent_Type{shipped, delivered} {
			_, err := db.ExecContext(t.Context(), "UPDATE orders SET status = ?", status)
			require.NoError(t, err)
			before := mysqltest.Dump(t, db, "SELECT COUNT(*) FROM outbox")
			err = deliver(typ)
			after, expected := mysqltest.Dump(t, db, "SELECT status FROM orders"), want[typ]
			if expected == "" {
				assert.Equal(t, 503, kerrors.Code(err), "%s on %s: %v", typ, status, err)
				expected = status
			} else {
				assert.NoError(t, err, "%s on %s", typ, status)
			}
			assert.Equal(t, string(expected)+"\n--\n", after, "%s on %s", typ, status)
			if expected == status {
				assert.Equal(t, before, mysqltest.Dump(t, db, "SELECT COUNT(*) FROM outbox"), "%s on %s records nothing", typ, status)
			}
		}
	}
}

// signed is a call's context as the sender of ev makes it.
func signed(keys tcc.Keys, ev *orderv1.DeliveryEvent) context.Context {
	headers := keys.CallHeaders(orderv1.DeliveryEvents_Deliver_FullMethodName,
		ev.GetEventId(), ev.GetOrderId(), fmt.Sprint(ev.GetSeq()), ev.GetType().String())
	return metadata.NewIncomingContext(context.Background(), metadata.New(headers))
}

// TestForged: who saw one event signed cannot make another of it, whichever field is changed; nor can a branch's MAC.
func TestForged(t *testing.T) {
	t.Parallel()
	keys, err := tcc.ParseKeys("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	events := delivery.New(keys, mysql.NewStore(mysqltest.Open(t, migrations.FS)))
	ev := &orderv1.DeliveryEvent{EventId: "e", OrderId: "order-1", Seq: 1, Type: orderv1.DeliveryEvent_SHIPPED}
	seen := signed(keys, ev)
	_, err = events.Deliver(seen, ev)
	require.Equal(t, 404, kerrors.Code(err), "it is accepted, but there is no such order: %v", err)

	fields := ev.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f, forged := fields.Get(i), proto.CloneOf(ev)
		value := map[protoreflect.Kind]protoreflect.Value{
			protoreflect.StringKind: protoreflect.ValueOfString("order-2"),
			protoreflect.Int64Kind:  protoreflect.ValueOfInt64(2),
			protoreflect.EnumKind:   protoreflect.ValueOfEnum(orderv1.DeliveryEvent_DELIVERED.Number()),
		}[f.Kind()]
		require.True(t, value.IsValid(), "say here what else %s can be", f.Name())
		forged.ProtoReflect().Set(f, value)
		_, err := events.Deliver(seen, forged)
		assert.Equal(t, 403, kerrors.Code(err), "another %s: %v", f.Name(), err)
	}
	_, err = events.Deliver(metadata.NewIncomingContext(t.Context(), metadata.New(keys.Headers("e", "order-1"))), ev)
	assert.Equal(t, 403, kerrors.Code(err), "a branch's MAC: %v", err)
	_, err = events.Deliver(t.Context(), ev)
	assert.Equal(t, 403, kerrors.Code(err), "not signed: %v", err)
}
