package checkout_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestAlarm tests that one alert is raised for a transaction that does not settle, not one for each sweep or each instance; that it is raised
// again when the pause is over; and that none is raised for a transaction that settles in time.
func TestAlarm(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables(), alert.Tables())
	outbox := mqtest.Absent(t, db, "order")
	store := mysql.NewStore(db, outbox)
	keys, err := tcc.ParseKeys("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	coordinator, err := tcc.Dial("127.0.0.1:1", "http://127.0.0.1:1", keys) // away, so nothing settles
	require.NoError(t, err)
	t.Cleanup(func() { _ = coordinator.Close() })
	var sweepers [2]*checkout.Sweeper
	for i := range sweepers {
		alerts := alert.New(outbox, db, "order")
		alerts.Pauses = []time.Duration{time.Hour}
		sweepers[i] = checkout.NewSweeper(store, coordinator, alerts, checkout.SweepTimes{OldEnough: 15 * time.Second, Alert: time.Minute})
	}
	for _, id := range []string{"stuck", "slow"} {
		o, err := order.New(id, "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 1, Quantity: 1}})
		require.NoError(t, err)
		require.NoError(t, store.Create(t.Context(), o, time.Hour, func(*sql.Tx, order.Order) error { return nil }))
	}
	exec := func(stmt string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	attempt := func(id, gid string, age int) {
		t.Helper()
		opened, err := store.OpenAttempt(t.Context(), order.Payment, "m", id, gid)
		require.NoError(t, err)
		require.True(t, opened)
		exec(fmt.Sprintf("UPDATE payment_attempt SET created_at = TIMESTAMPADD(SECOND, -%d, NOW(3)) WHERE gid = '%s'", age, gid))
	}
	sweep := func(times int) {
		t.Helper()
		for range times {
			for _, s := range sweepers {
				exec("UPDATE payment_attempt SET lease_until = NULL")
				require.NoError(t, s.Sweep(t.Context()))
			}
		}
	}
	told := func() (lines []string) {
		t.Helper()
		for _, e := range mqtest.Outbox[alertv1.Raised](t, db, alertv1.Topic) {
			assert.Contains(t, e.Data.GetSummary(), "order stuck")
			assert.Contains(t, e.Data.GetDetail(), "gid-")
			lines = append(lines, fmt.Sprint(e.Data.GetKey(), " ", e.Data.GetTimes()))
		}
		return lines
	}
	attempt("slow", "gid-slow", 30)
	attempt("stuck", "gid-1", 59)
	sweep(1)
	require.Empty(t, told(), "there is time left")
	exec("UPDATE payment_attempt SET created_at = TIMESTAMPADD(SECOND, -61, NOW(3)) WHERE gid = 'gid-1'")
	sweep(5)
	require.Equal(t, []string{"payment/gid-1 1"}, told())
	exec("UPDATE alert SET next_at = NOW(3)")
	sweep(2)
	require.Equal(t, []string{"payment/gid-1 1", "payment/gid-1 2"}, told(), "it lasts")

	held, err := store.AbandonAttempt(t.Context(), order.Payment, "stuck", "gid-1")
	require.NoError(t, err)
	require.False(t, held)
	sweep(1)
	require.Equal(t, "payment/gid-1 1\n--\n", mysqltest.Dump(t, db, "SELECT name, cleared_at IS NOT NULL FROM alert"), "it is over")
	attempt("stuck", "gid-2", 100)
	sweep(2)
	require.Equal(t, []string{"payment/gid-1 1", "payment/gid-1 2", "payment/gid-2 1"}, told(), "another is another")
}
