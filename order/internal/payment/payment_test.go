package payment_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/payment"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestLaws runs the laws of a participant with an order whose attempt is open.
func TestLaws(t *testing.T) {
	t.Parallel()
	const id, gid, member = "0193b8f0-0000-7000-8000-000000000001", "pay-1", "member-1"
	tcclaws.Run(t, func(t *testing.T) tcclaws.Subject {
		db := mysqltest.Open(t, migrations.FS)
		store := mysql.NewStore(db)
		o, err := order.New(id, member, "", []order.Line{{SKU: "a", Name: "a", PriceCents: 500, Quantity: 2}})
		require.NoError(t, err)
		require.NoError(t, store.Create(t.Context(), o, time.Hour, mysql.Key{Key: "k"}, func(order.Order) (mysql.Answer, error) {
			return mysql.Answer{Hash: []byte{0}, Reply: []byte{0}}, nil
		}))
		opened, err := store.OpenAttempt(t.Context(), member, id, gid)
		require.NoError(t, err)
		require.True(t, opened)
		keys, err := tcc.ParseKeys("k1:00112233445566778899aabbccddeeff")
		require.NoError(t, err)
		p := payment.New(tcc.NewParticipant("order", db, keys), store)
		return tcclaws.Subject{
			Name: "order", Keys: keys, DB: db, OrderID: id, GID: gid,
			Try: func(ctx context.Context, id string) error {
				_, err := p.Try(ctx, id)
				return err
			},
			Confirm: func(ctx context.Context, id string) error {
				_, err := p.Confirm(ctx, &orderv1.OrderPaymentRequest{OrderId: id})
				return err
			},
			Cancel: func(ctx context.Context, id string) error {
				_, err := p.Cancel(ctx, &orderv1.OrderPaymentRequest{OrderId: id})
				return err
			},
			Snapshot: func(t testing.TB) string {
				return mysqltest.Dump(t, db,
					"SELECT CONCAT_WS(',', status, reason, gid, paid_at IS NOT NULL) FROM orders",
					"SELECT CONCAT_WS(',', gid, state) FROM payment_attempt",
					"SELECT seq, event_type FROM outbox ORDER BY seq")
			},
			Before:    "CREATED,,,0\n--\npay-1,OPEN\n--\n1 order.created\n--\n",
			Tried:     "UPDATING,,pay-1,0\n--\npay-1,OPEN\n--\n1 order.created\n--\n",
			Confirmed: "PAID,,pay-1,1\n--\npay-1,DONE\n--\n1 order.created\n2 order.paid\n--\n",
			Canceled:  "CANCELED,PAYMENT_TIMEOUT,pay-1,0\n--\npay-1,DONE\n--\n1 order.created\n2 order.canceled\n--\n",
			Refuse: func(t testing.TB) string {
				require.NoError(t, store.Close(t.Context(), member, id, order.ByMember))
				return "ORDER_STATE"
			},
			Lock: "SELECT id FROM orders WHERE id = '" + id + "' FOR UPDATE",
		}
	})
}
