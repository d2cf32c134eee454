package checkout_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

// logged are the lines of all tests of this package. Only TestAlarm raises alerts.
var logged alarms

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(&logged))
	mysqltest.Main(m)
}

// TestAlarm tests that one alert is raised for a transaction that does not settle, not one for each sweep or each instance; that it is raised
// again when the pause is over; and that none is raised for a transaction that settles in time.
func TestAlarm(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables(), alert.Tables())
	outbox := mqtest.Absent(t, db, "order")
	store := mysql.NewStore(db, outbox)
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	coordinator, err := tcc.Dial("127.0.0.1:1", "http://127.0.0.1:1", mtls.Config{}, keys) // away, so nothing settles
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
		require.NoError(t, store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
	}
	exec := func(stmt string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	attempt := func(id, gid string, age int) {
		t.Helper()
		_, opened, err := store.OpenAttempt(t.Context(), order.Payment, "m", id, gid)
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
	assert.Equal(t, 3, logged.count(), "a line for each telling, not for each look: %q", logged.lines)
}

// TestAlarmSaysWhoActs: an alert says that its transaction settles by itself as long as the coordinator has it, and asks for a decision, with
// the commands, when the coordinator is through with it; each time it is told. It ends when a person has decided.
func TestAlarmSaysWhoActs(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	outbox := mqtest.Absent(t, s.db, "order")
	sweeper := checkout.NewSweeper(s.store, s.coordinator, alert.New(outbox, s.db, "order"),
		checkout.SweepTimes{OldEnough: 15 * time.Second, Alert: time.Minute})
	sweep := func(t *testing.T) {
		t.Helper()
		_, err := s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET lease_until = NULL, created_at = NOW(3) - INTERVAL 70 SECOND")
		require.NoError(t, err)
		_, err = s.db.ExecContext(t.Context(), "UPDATE alert SET next_at = NOW(3)")
		require.NoError(t, err)
		require.NoError(t, sweeper.Sweep(t.Context()))
	}
	told := 0
	for _, status := range []tcc.Status{tcc.Prepared, tcc.Submitted, tcc.Aborting, tcc.Unknown, tcc.Failed, tcc.Succeeded} {
		id := "o-" + string(status)
		s.hold(t, id, status, "TTT")
		decide := checkout.Judge(status, mysql.Progress{Open: true, Held: true}) == checkout.Alarm
		for range 2 {
			sweep(t)
			all := mqtest.Outbox[alertv1.Raised](t, s.db, alertv1.Topic)
			told++
			require.Len(t, all, told, status)
			a := all[len(all)-1].Data
			text := a.GetSummary() + "\n" + a.GetDetail()
			assert.Equal(t, "payment/gid-"+id, a.GetKey())
			assert.Contains(t, text, "make settle ORDER="+id+"\n", status)
			assert.Contains(t, text, "docs/runbook.md#payment\n", status)
			assert.Equal(t, decide, strings.Contains(text, "needs a decision"), "%s: %s", status, text)
			assert.Equal(t, decide, strings.Contains(text, "make settle ORDER="+id+" AS=confirm"), "%s: %s", status, text)
			assert.Equal(t, !decide, regexp.MustCompile(`by\s+itself`).MatchString(text), "%s: %s", status, text)
		}
		s.said.Store("gid-"+id, tcc.Unknown)
		_, err := s.Settle(t.Context(), id, checkout.Confirm)
		require.NoError(t, err)
		sweep(t)
		require.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM alert WHERE cleared_at IS NULL"), "it is over: %s", status)
	}
}

// TestAlarmOfSilentCoordinator: a coordinator that accepts questions and never answers keeps nobody from being told.
func TestAlarmOfSilentCoordinator(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.hold(t, "o", tcc.Unknown, "TTT")
	_, err := s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) - INTERVAL 70 SECOND")
	require.NoError(t, err)
	lis, err := net.Listen("tcp", "127.0.0.1:0") // accepts, because the kernel does
	require.NoError(t, err)
	defer func() { _ = lis.Close() }()
	silent, err := tcc.Dial("127.0.0.1:1", "http://"+lis.Addr().String(), mtls.Config{}, s.keys)
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = checkout.NewSweeper(s.store, silent, alert.New(mqtest.Absent(t, s.db, "order"), s.db, "order"), checkout.SweepTimes{
			Every: 10 * time.Millisecond, OldEnough: 15 * time.Second, Alert: time.Minute}).Run(ctx)
	}()
	assert.Eventually(t, func() bool { return len(mqtest.Outbox[alertv1.Raised](t, s.db, alertv1.Topic)) == 1 }, 15*time.Second,
		50*time.Millisecond)
	stop()
	<-ended
}
