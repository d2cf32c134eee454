package checkout_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/migrations"
)

// alarms keeps the log lines that call for a person; the rest is not shown.
type alarms struct {
	mu    sync.Mutex
	lines []string
}

func (a *alarms) Enabled(context.Context, slog.Level) bool { return true }
func (a *alarms) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a *alarms) WithGroup(string) slog.Handler            { return a }

func (a *alarms) Handle(_ context.Context, r slog.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.HasPrefix(r.Message, "ALARM") {
		a.lines = append(a.lines, r.Message)
	}
	return nil
}

func (a *alarms) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lines)
}

// sweeping returns a sweeper under a coordinator that says status of each gid after 100 ms, with n orders that have been CREATED with an open
// attempt for 20 s and more: gid-1 for the longest time, gid-n for the shortest.
func sweeping(t *testing.T, n int, status func(gid string) string) (*sql.DB, *checkout.Sweeper) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables(), alert.Tables())
	for _, statement := range []string{
		`INSERT INTO orders (id, member_id, status, total_cents, points, address, event_seq, expires_at)
			SELECT CONCAT('o-', seq), 'm', 'CREATED', 1, 1, '', 0, NOW(3) + INTERVAL 1 HOUR FROM seq_1_to_%d`,
		`INSERT INTO payment_attempt (order_id, no, gid, kind, state, created_at)
			SELECT CONCAT('o-', seq), 1, CONCAT('gid-', seq), 'PAYMENT', 'OPEN', NOW(3) - INTERVAL (20000 + %[1]d - seq) * 1000 MICROSECOND
			FROM seq_1_to_%[1]d`,
	} {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(statement, n))
		require.NoError(t, err)
	}
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		_, _ = fmt.Fprintf(w, `{"transaction": {"status": %q}}`, status(r.FormValue("gid")))
	}))
	t.Cleanup(admin.Close)
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	coordinator, err := tcc.Dial("127.0.0.1:1", admin.URL, mtls.Config{}, keys)
	require.NoError(t, err)
	t.Cleanup(func() { _ = coordinator.Close() })
	outbox := mqtest.Absent(t, db, "order")
	return db, checkout.NewSweeper(mysql.NewStore(db, outbox), coordinator, alert.New(outbox, db, "order"),
		checkout.SweepTimes{Every: 100 * time.Millisecond, OldEnough: 15 * time.Second, Alert: time.Hour})
}

// run runs s until the test ends.
func run(t *testing.T, s *checkout.Sweeper) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); assert.NoError(t, s.Run(ctx)) }()
	t.Cleanup(func() { stop(); <-ended })
}

// TestSweepIsFair tests that a sweeper whose time is enough for a quarter of what is overdue comes to all of it: attempts that only wait do not
// keep it from one that can be helped.
func TestSweepIsFair(t *testing.T) {
	t.Parallel()
	const n = 100
	var mu sync.Mutex
	asked := map[string]int{}
	db, sweeper := sweeping(t, n, func(gid string) string {
		mu.Lock()
		defer mu.Unlock()
		asked[gid]++
		if gid == fmt.Sprint("gid-", n) {
			return "failed"
		}
		return "prepared"
	})
	run(t, sweeper)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, fmt.Sprintf("gid-%d\n--\n", n), mysqltest.Dump(t, db, "SELECT gid FROM payment_attempt WHERE state = 'ABANDONED'"))
	}, 30*time.Second, 100*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	counts := make([]int, 0, n)
	for _, times := range asked {
		counts = append(counts, times)
	}
	assert.Len(t, counts, n, "all were asked for")
	assert.LessOrEqual(t, slices.Max(counts), 2, "none again before all others; one that the end of a sweep cut off comes again")
}

// TestSweepUnderManyAlerts tests that alerts which last do not keep the sweeper from its work.
func TestSweepUnderManyAlerts(t *testing.T) {
	t.Parallel()
	const n = 30_000
	db, sweeper := sweeping(t, n, func(string) string { return "failed" })
	for _, statement := range []string{
		"UPDATE payment_attempt SET lease_until = NOW(3) + INTERVAL 1 HOUR WHERE gid <> 'gid-7'",
		"INSERT INTO alert (name) SELECT CONCAT('payment/', gid) FROM payment_attempt",
		"UPDATE payment_attempt SET state = 'ABANDONED' WHERE gid = 'gid-8'",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	run(t, sweeper)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "payment/gid-7\npayment/gid-8\n--\n", mysqltest.Dump(t, db,
			"SELECT name FROM alert WHERE cleared_at IS NOT NULL ORDER BY name"), "settled by this sweeper and before")
	}, 30*time.Second, 100*time.Millisecond)
}
