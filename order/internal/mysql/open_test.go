package mysql_test

import (
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

// TestOpenOrders: a member has at most so many unpaid orders, however many are created at the same time; each that is closed or expires makes
// room for one.
func TestOpenOrders(t *testing.T) {
	t.Parallel()
	const most = 5
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mq.NewOutbox(db, mq.NewBus("order", memory.New(), mq.Config{}), mq.OutboxConfig{}))
	create := func(member string, ttl time.Duration, most int) (string, error) {
		id, err := uuid.NewV7()
		require.NoError(t, err)
		o, err := order.New(id.String(), member, "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
		require.NoError(t, err)
		return o.ID, store.Create(t.Context(), o, ttl, most, func(*sql.Tx, order.Order) error { return nil })
	}
	_, err := create("m", 10*time.Millisecond, most) // expires
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var open int
		return db.QueryRow("SELECT COUNT(*) FROM orders WHERE expires_at > NOW(3)").Scan(&open) == nil && open == 0
	}, 5*time.Second, time.Millisecond)

	var (
		wg               sync.WaitGroup
		created, tooMany atomic.Int64
		one              atomic.Value
	)
	for range 4 * most {
		wg.Go(func() {
			switch id, err := create("m", time.Hour, most); {
			case err == nil:
				created.Add(1)
				one.Store(id)
			case errors.Is(err, order.ErrTooMany):
				tooMany.Add(1)
			default:
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, most, created.Load())
	assert.EqualValues(t, 3*most, tooMany.Load())

	_, err = create("n", time.Hour, most)
	require.NoError(t, err, "another member has room")
	_, err = create("m", time.Hour, 0)
	require.NoError(t, err, "0 is any number")
	require.NoError(t, store.Close(t.Context(), "m", one.Load().(string), order.ByMember))
	_, err = create("m", time.Hour, most)
	require.ErrorIs(t, err, order.ErrTooMany, "that was one too many")
	_, err = create("m", time.Hour, most+1)
	require.NoError(t, err)
}
