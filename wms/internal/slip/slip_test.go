package slip_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/slip"
	"example.com/fourfold/wms/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// branch is a Slip over a database of its own.
type branch struct {
	*slip.Slip
	calls *tcclaws.Calls
	db    *sql.DB
	store *mysql.Store
	keys  mac.Keys
}

func newBranch(t *testing.T) branch {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	store := mysql.NewStore(db, mqtest.Absent(t, db, "wms"))
	s := slip.New(tcc.NewParticipant(t.Name(), db, keys), store)
	return branch{s, tcclaws.Serve(t, &wmsv1.DeliverySlip_ServiceDesc, s, request), db, store, keys}
}

// request returns an order of two products, one of them on two lines.
func request(orderID string) *wmsv1.DeliverySlipRequest {
	return &wmsv1.DeliverySlipRequest{OrderId: orderID, Address: "1 Main Street, 杭州", Lines: []*wmsv1.DeliverySlipRequest_Line{
		{Sku: "pear", Quantity: 2}, {Sku: "apple", Quantity: 3}, {Sku: "pear", Quantity: 1},
	}}
}

// call calls one phase for the order as the coordinator would; the gid is made of the order's id.
func (b branch) call(ctx context.Context, op, orderID string) error {
	return b.calls.Deliver(ctx, b.keys, op, "gid-"+orderID, orderID, request(orderID))
}

// slips returns all slips and all lines, also those without a slip.
func (b branch) slips(t testing.TB) string {
	return mysqltest.Dump(t, b.db,
		"SELECT order_id, status, address FROM delivery_slip ORDER BY order_id",
		"SELECT s.order_id, l.sku, l.quantity FROM delivery_line l LEFT JOIN delivery_slip s ON s.id = l.slip_id ORDER BY 1, 2")
}

// TestLaws runs the laws of a participant.
func TestLaws(t *testing.T) {
	t.Parallel()
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		b := newBranch(t)
		return tcclaws.Branch{
			Name: t.Name(), Keys: b.keys, DB: b.db, Subject: "order-1", GID: "gid-1",
			Calls:     b.calls,
			Snapshot:  func(t testing.TB) string { return b.slips(t) },
			Before:    "--\n--\n",
			Tried:     snapshot("UNKNOWN"),
			Confirmed: snapshot("CREATED"),
			Canceled:  snapshot("CANCELED"),
			Refuse: func(t testing.TB) string {
				require.NoError(t, b.store.SetOpen(t.Context(), false))
				return "DELIVERY_REFUSED"
			},
			Lock: "SELECT id FROM warehouse WHERE id = 1 FOR UPDATE",
		}
	})
}

func snapshot(status string) string {
	return "order-1 " + status + " 1 Main Street, 杭州\n--\norder-1 apple 3\norder-1 pear 3\n--\n"
}

// TestClosedBehindTry tests that Confirm and Cancel never refuse, even after the warehouse was closed.
func TestClosedBehindTry(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]string{"confirm": snapshot("CREATED"), "cancel": snapshot("CANCELED")} {
		b := newBranch(t)
		require.NoError(t, b.call(t.Context(), "try", "order-1"))
		require.NoError(t, b.store.SetOpen(t.Context(), false))
		require.NoError(t, b.call(t.Context(), "try", "order-1"), "a repeated Try is not a new one")
		require.True(t, wmsv1.IsDeliveryRefused(b.call(t.Context(), "try", "order-2")))
		require.NoError(t, b.call(t.Context(), op, "order-1"))
		require.Equal(t, want, b.slips(t))

		require.NoError(t, b.store.SetOpen(t.Context(), true))
		require.NoError(t, b.call(t.Context(), "try", "order-2"), "the refused Try, delivered again")
	}
}

func TestTryRejectsBadInput(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	_, err := b.Try(t.Context(), &wmsv1.DeliverySlipRequest{OrderId: "order-1"})
	assert.True(t, wmsv1.IsDeliveryInvalid(err), "%v", err)
	assert.False(t, tcc.Refused(err), "bad input is no refusal")
	assert.Equal(t, "--\n--\n", b.slips(t))
}
