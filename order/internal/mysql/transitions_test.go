package mysql_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// TestEveryStatusAndEvent tests every pair: the order moves as the state table says, or stays as it is.
func TestEveryStatusAndEvent(t *testing.T) {
	t.Parallel()
	db, store, id := newOrder(t)
	const gid = "gid"
	_, opened, err := store.OpenAttempt(t.Context(), order.Payment, member, id, gid)
	require.NoError(t, err)
	require.True(t, opened)
	ctx := t.Context()
	phase := func(f func(tx *sql.Tx) error) func() error {
		return func() error { return database.InTx(ctx, db, f) }
	}
	for event, happen := range map[order.Event]func() error{
		order.BeginPayment: phase(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Hold(order.Payment)(), mysql.Holding{Subject: id, GID: gid})
		}),
		order.ConfirmPayment: phase(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Settle(order.ConfirmPayment)(), mysql.Holding{Subject: id, GID: gid})
		}),
		order.CancelPayment: phase(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Settle(order.CancelPayment)(), mysql.Holding{Subject: id, GID: gid})
		}),
		order.BeginRefund: phase(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Hold(order.Refund)(), mysql.Holding{Subject: id, GID: gid})
		}),
		order.ConfirmRefund: phase(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Settle(order.ConfirmRefund)(), mysql.Holding{Subject: id, GID: gid})
		}),
		order.CancelRefund: phase(func(tx *sql.Tx) error {
			return batch.Apply(ctx, tx, store.Settle(order.CancelRefund)(), mysql.Holding{Subject: id, GID: gid})
		}),
		order.Close:    func() error { return store.Close(ctx, member, id, order.ByMember) },
		order.Ship:     phase(func(tx *sql.Tx) error { return store.Follow(ctx, tx, id, order.Ship, "order.shipped") }),
		order.Complete: phase(func(tx *sql.Tx) error { return store.Follow(ctx, tx, id, order.Complete, "order.completed") }),
	} {
		for _, status := range []order.Status{
			order.Created, order.Updating, order.Paid, order.Canceled, order.Shipped, order.Completed, order.Refunding, order.Refunded,
		} {
			_, err := db.ExecContext(ctx, "UPDATE orders SET status = ?, gid = ?", status, gid)
			require.NoError(t, err)
			_, err = db.ExecContext(ctx, "UPDATE payment_attempt SET state = 'OPEN'")
			require.NoError(t, err)
			events := mysqltest.Dump(t, db, "SELECT COUNT(*) FROM order_event")
			err = happen()
			want := status
			if legal := event.Transition(); legal.From == status {
				want = legal.To
				assert.NoError(t, err, "%s on %s", event, status)
			} else {
				assert.True(t, err != nil || status.After(event), "%s on %s", event, status)
				assert.Equal(t, events, mysqltest.Dump(t, db, "SELECT COUNT(*) FROM order_event"), "%s on %s tells nobody", event, status)
			}
			assert.Equal(t, string(want)+"\n--\n", mysqltest.Dump(t, db, "SELECT status FROM orders"), "%s on %s", event, status)
		}
	}
}
