package payment_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/payment"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestLaws runs the laws of a participant with an order whose payment attempt is open.
func TestLaws(t *testing.T) {
	t.Parallel()
	const id, gid, member = "0193b8f0-0000-7000-8000-000000000001", "pay-1", "member-1"
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		db, store := payable(t, id, member, gid)
		keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
		require.NoError(t, err)
		p := payment.New(tcc.NewParticipant(t.Name(), db, keys), store)
		return tcclaws.Branch{
			Name: t.Name(), Keys: keys, DB: db, Subject: id, GID: gid,
			Calls: tcclaws.Serve(t, &orderv1.OrderPayment_ServiceDesc, p, func(id string) *orderv1.OrderPaymentRequest {
				return &orderv1.OrderPaymentRequest{OrderId: id}
			}).TriedBy(p.Try),
			Snapshot:  func(t testing.TB) string { return snapshot(t, db) },
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

// TestRefundLaws runs the laws with a paid order whose refund attempt is open.
func TestRefundLaws(t *testing.T) {
	t.Parallel()
	const id, pay, gid, member = "0193b8f0-0000-7000-8000-000000000001", "pay-1", "refund-1", "member-1"
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		db, store := payable(t, id, member, pay)
		require.NoError(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error {
			if err := batch.Apply(t.Context(), tx, store.Hold(order.Payment)(), mysql.Holding{Subject: id, GID: pay}); err != nil {
				return err
			}
			return batch.Apply(t.Context(), tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: id, GID: pay})
		}))
		_, opened, err := store.OpenAttempt(t.Context(), order.Refund, member, id, gid)
		require.NoError(t, err)
		require.True(t, opened)
		keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
		require.NoError(t, err)
		r := payment.NewRefund(tcc.NewParticipant(t.Name(), db, keys), store)
		return tcclaws.Branch{
			Name: t.Name(), Keys: keys, DB: db, Subject: id, GID: gid,
			Calls: tcclaws.Serve(t, &orderv1.OrderRefund_ServiceDesc, r, func(id string) *orderv1.OrderRefundRequest {
				return &orderv1.OrderRefundRequest{OrderId: id}
			}).TriedBy(r.Try),
			Snapshot:  func(t testing.TB) string { return snapshot(t, db) },
			Before:    "PAID,,pay-1,1\n--\npay-1,DONE\nrefund-1,OPEN\n--\n1 order.created\n2 order.paid\n--\n",
			Tried:     "REFUNDING,,refund-1,1\n--\npay-1,DONE\nrefund-1,OPEN\n--\n1 order.created\n2 order.paid\n--\n",
			Confirmed: "REFUNDED,,refund-1,1\n--\npay-1,DONE\nrefund-1,DONE\n--\n1 order.created\n2 order.paid\n3 order.refunded\n--\n",
			Canceled:  "PAID,,refund-1,1\n--\npay-1,DONE\nrefund-1,DONE\n--\n1 order.created\n2 order.paid\n--\n",
			Refuse: func(t testing.TB) string {
				_, err := db.ExecContext(t.Context(), "UPDATE orders SET status = 'SHIPPED'")
				require.NoError(t, err)
				return "ORDER_STATE"
			},
			Lock: "SELECT id FROM orders WHERE id = '" + id + "' FOR UPDATE",
		}
	})
}

// payable returns a database with an order whose payment attempt is open.
func payable(t *testing.T, id, member, gid string) (*sql.DB, *mysql.Store) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	o, err := order.New(id, member, "", []order.Line{{SKU: "a", Name: "a", PriceCents: 500, Quantity: 2}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
	_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, id, gid)
	require.NoError(t, err)
	require.True(t, opened)
	return db, store
}

func snapshot(t testing.TB, db *sql.DB) string {
	t.Helper()
	return mysqltest.Dump(t, db,
		"SELECT CONCAT_WS(',', status, reason, gid, paid_at IS NOT NULL) FROM orders",
		"SELECT CONCAT_WS(',', gid, state) FROM payment_attempt ORDER BY no",
		"SELECT e.seq, e.event_type FROM mq_outbox o LEFT JOIN order_event e ON e.event_id = o.event_id "+
			"WHERE o.topic = 'order-events' ORDER BY o.id")
}
