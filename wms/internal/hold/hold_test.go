package hold_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/wms/internal/delivery"
	"example.com/fourfold/wms/internal/hold"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
	"example.com/fourfold/wms/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// branch is a Hold that is served, and the staff, over a database of its own.
type branch struct {
	calls *tcclaws.Calls
	staff *rpc.Warehouse
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
	h := hold.New(tcc.NewParticipant(t.Name(), db, keys), store)
	return branch{tcclaws.Serve(t, &wmsv1.SlipHold_ServiceDesc, h, request), rpc.NewWarehouse(store), db, store, keys}
}

// pay takes the order's payment through its Try and settles it by event, Create or Cancel; with None it stays open. It returns the slip's id.
func (b branch) pay(t *testing.T, orderID string, event delivery.Event) (id string) {
	t.Helper()
	slip, err := delivery.NewSlip(orderID, "", []delivery.Line{{SKU: "apple", Quantity: 1}})
	require.NoError(t, err)
	require.NoError(t, database.InTx(t.Context(), b.db, func(tx *sql.Tx) error {
		if err := batch.Apply(t.Context(), tx, b.store.Draft(), mysql.Drafting{GID: "pay-" + orderID, Request: slip}); err != nil || event == "" {
			return err
		}
		return batch.Apply(t.Context(), tx, b.store.Settle(event)(), mysql.Drafting{Subject: orderID, GID: "pay-" + orderID})
	}))
	require.NoError(t, b.db.QueryRowContext(t.Context(), "SELECT id FROM delivery_slip WHERE order_id = ?", orderID).Scan(&id))
	return id
}

// call calls one phase of the refund gid as the coordinator would.
func (b branch) call(op, orderID, gid string) error {
	return b.calls.Deliver(context.Background(), b.keys, op, gid, orderID, request(orderID))
}

func request(orderID string) *wmsv1.SlipHoldRequest { return &wmsv1.SlipHoldRequest{OrderId: orderID} }

func (b branch) pick(id string) error {
	_, err := b.staff.PickDelivery(context.Background(), &wmsv1.PickDeliveryRequest{Id: id})
	return err
}

func (b branch) slips(t testing.TB) string {
	return mysqltest.Dump(t, b.db, "SELECT order_id, status FROM delivery_slip ORDER BY order_id")
}

// TestLaws runs the laws of a participant with a paid order.
func TestLaws(t *testing.T) {
	t.Parallel()
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		b := newBranch(t)
		id := b.pay(t, "order-1", delivery.Create)
		return tcclaws.Branch{
			Name: t.Name(), Keys: b.keys, DB: b.db, Subject: "order-1", GID: "refund-1",
			Calls:     b.calls,
			Snapshot:  func(t testing.TB) string { return b.slips(t) },
			Before:    "order-1 CREATED\n--\n",
			Tried:     "order-1 HELD\n--\n",
			Confirmed: "order-1 CANCELED\n--\n",
			Canceled:  "order-1 CREATED\n--\n",
			Refuse: func(t testing.TB) string {
				require.NoError(t, b.pick(id))
				return "DELIVERY_REFUSED"
			},
			Lock: "SELECT id FROM delivery_slip WHERE order_id = 'order-1' FOR UPDATE",
		}
	})
}

// TestRefusals tests a refund from every other state, and without a slip. The answer names the state. Nothing changes.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	for _, status := range []string{"", "UNKNOWN", "CANCELED", "PICKED", "SHIPPED", "DELIVERED", "HELD"} {
		order := "order-" + status
		if status != "" {
			b.pay(t, order, delivery.Create)
			_, err := b.db.ExecContext(t.Context(), "UPDATE delivery_slip SET status = ? WHERE order_id = ?", status, order)
			require.NoError(t, err)
		}
		before := b.slips(t)
		err := b.call("try", order, "refund-"+status)
		require.True(t, wmsv1.IsDeliveryRefused(err), "%s: %v", status, err)
		assert.True(t, tcc.Refused(err))
		assert.Equal(t, status, kerrors.FromError(err).GetMetadata()["status"])
		require.NoError(t, b.call("cancel", order, "refund-"+status))
		require.Equal(t, before, b.slips(t))
	}
	err := b.call("try", "ordér-1", "refund-1")
	assert.True(t, wmsv1.IsDeliveryInvalid(err), "%v", err)
	assert.False(t, tcc.Refused(err), "bad input is no refusal")
}

// TestHeldIsNotPicked tests that a held slip is not picked nor a picked one held, that a canceled refund frees the slip and a confirmed one
// never does, and that late calls of one refund do not touch what another holds. All while the warehouse is closed.
func TestHeldIsNotPicked(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	id := b.pay(t, "order-1", delivery.Create)
	require.NoError(t, b.store.SetOpen(t.Context(), false))
	require.NoError(t, b.call("try", "order-1", "refund-1"))
	err := b.pick(id)
	require.True(t, wmsv1.IsDeliveryState(err), "%v", err)
	assert.Equal(t, "HELD", kerrors.FromError(err).GetMetadata()["status"])
	require.True(t, wmsv1.IsDeliveryRefused(b.call("try", "order-1", "refund-2")), "held by the first")
	require.NoError(t, b.call("cancel", "order-1", "refund-2"))
	require.Equal(t, "order-1 HELD\n--\n", b.slips(t))
	require.NoError(t, b.call("cancel", "order-1", "refund-1"))

	require.NoError(t, b.call("try", "order-1", "refund-3"))
	require.NoError(t, b.call("cancel", "order-1", "refund-1"), "a repeated Cancel")
	require.Error(t, b.call("confirm", "order-1", "refund-1"))
	require.Equal(t, "order-1 HELD\n--\n", b.slips(t))
	require.NoError(t, b.call("confirm", "order-1", "refund-3"))
	require.Equal(t, "order-1 CANCELED\n--\n", b.slips(t))
	require.True(t, wmsv1.IsDeliveryState(b.pick(id)))

	require.NoError(t, b.store.SetOpen(t.Context(), true))
	id = b.pay(t, "order-2", delivery.Create)
	require.NoError(t, b.call("try", "order-2", "refund-4"))
	require.NoError(t, b.call("cancel", "order-2", "refund-4"))
	require.NoError(t, b.pick(id), "given back")
	require.True(t, wmsv1.IsDeliveryRefused(b.call("try", "order-2", "refund-5")))
}

// TestRefundAgainstPick tests in 200 rounds of three refunds' calls against three pickers that exactly one side wins, and that the slip says
// which.
func TestRefundAgainstPick(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	wins := map[string]int{}
	for round := range 200 {
		order := fmt.Sprintf("order-%d", round)
		id := b.pay(t, order, delivery.Create)
		var (
			wg           sync.WaitGroup
			mu           sync.Mutex
			held, picked int
		)
		start := make(chan struct{})
		for i := range 6 {
			wg.Go(func() {
				<-start
				var err error
				if picker := (i+round)%2 == 0; picker {
					if err = b.pick(id); err == nil {
						mu.Lock()
						defer mu.Unlock()
						picked++
						return
					}
					assert.True(t, wmsv1.IsDeliveryState(err), "%v", err)
					return
				}
				if err = b.call("try", order, fmt.Sprintf("refund-%d-%d", round, i)); err == nil {
					mu.Lock()
					defer mu.Unlock()
					held++
					return
				}
				assert.True(t, wmsv1.IsDeliveryRefused(err), "%v", err)
			})
		}
		close(start)
		wg.Wait()
		var status string
		require.NoError(t, b.db.QueryRowContext(t.Context(), "SELECT status FROM delivery_slip WHERE order_id = ?", order).Scan(&status))
		wins[status]++
		switch status {
		case "PICKED":
			require.Equal(t, []int{3, 0}, []int{picked, held}, "each picker hears that it is picked")
		case "HELD":
			require.Equal(t, []int{0, 1}, []int{picked, held}, "one refund has it")
		default:
			require.Fail(t, status)
		}
	}
	t.Log(wins)
	assert.Len(t, wins, 2, "both sides win now and then")
}
