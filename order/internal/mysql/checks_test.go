package mysql_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/migrations"
)

// TestOneChecks tests that of 20 instances whose time has come one checks, and one again when the pause is over.
func TestOneChecks(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	claim := func() int32 {
		var claimed atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				mine, err := store.ClaimCheck(context.Background(), time.Minute)
				if assert.NoError(t, err) && mine {
					claimed.Add(1)
				}
			})
		}
		wg.Wait()
		return claimed.Load()
	}
	assert.EqualValues(t, 1, claim())
	assert.EqualValues(t, 0, claim())
	_, err := db.ExecContext(t.Context(), "UPDATE conservation SET began_at = TIMESTAMPADD(SECOND, -60, NOW(3))")
	require.NoError(t, err)
	assert.EqualValues(t, 1, claim())

	last, err := store.LastCheck(t.Context())
	require.NoError(t, err)
	assert.True(t, last.FinishedAt.IsZero(), "none was finished")
	require.NoError(t, store.KeepCheck(t.Context(), 1500*time.Millisecond, map[string]int64{"a": 0, "b": 2}))
	last, err = store.LastCheck(t.Context())
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), last.FinishedAt, time.Minute)
	assert.Equal(t, 1500*time.Millisecond, last.Took)
	assert.Equal(t, map[string]int64{"a": 0, "b": 2}, last.Violations)
}

// TestScan tests that every order comes once with all rows that refer to it, and so do rows of orders that are not there, wherever they lie
// between the others; also when there are more orders than are read at once.
func TestScan(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	const n = 45_000
	for _, statement := range []string{
		`INSERT INTO orders (id, member_id, status, total_cents, points, address, expires_at, event_seq)
			SELECT LPAD(seq * 10, 8, '0'), 'm', 'PAID', 1, seq, '', NOW(3), 2 FROM seq_1_to_45000`,
		`INSERT INTO order_line SELECT LPAD(seq * 10, 8, '0'), 'a', 'a', 1, 1 + seq % 5 FROM seq_1_to_45000`,
		`INSERT INTO order_line SELECT LPAD(seq * 10, 8, '0'), 'b', 'b', 1, 2 FROM seq_1_to_45000 WHERE seq % 2 = 0`,
		`INSERT INTO payment_attempt (order_id, no, gid, kind, state)
			SELECT LPAD(seq * 10, 8, '0'), 1, CONCAT('g', seq), 'PAYMENT', 'DONE' FROM seq_1_to_45000`,
		`INSERT INTO order_event (event_id, event_type, order_id, seq)
			SELECT CONCAT(seq, '-', q.n), 'e', LPAD(seq * 10, 8, '0'), q.n FROM seq_1_to_45000 JOIN (SELECT 1 AS n UNION SELECT 2) q`,
		// Of orders that are not there: before all orders, between two, and after all.
		`INSERT INTO payment_attempt (order_id, no, gid, kind, state) ` +
			`VALUES ('00000001', 1, 'x1', 'PAYMENT', 'OPEN'), ('zz', 1, 'x2', 'PAYMENT', 'OPEN')`,
		`INSERT INTO order_event (event_id, event_type, order_id, seq) VALUES ('x', 'e', '00300005', 7)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	var mu sync.Mutex
	all := map[string]order.Record{}
	require.NoError(t, store.Scan(t.Context(), func(records []order.Record) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records {
			_, twice := all[r.ID]
			assert.False(t, twice, r.ID)
			all[r.ID] = r
		}
	}))
	assert.Len(t, all, n+3)
	assert.Equal(t, order.Record{
		ID: "00300000", Status: order.Paid, Points: 30_000, EventSeq: 2, Events: 2, LastEvent: 2,
		Lines:    []order.Line{{SKU: "a", Quantity: 1}, {SKU: "b", Quantity: 2}},
		Attempts: []order.Attempt{{GID: "g30000", Kind: order.Payment, State: order.AttemptDone}},
	}, all["00300000"])
	assert.Equal(t, order.Record{ID: "00300005", Events: 1, LastEvent: 7}, all["00300005"])
	assert.Equal(t, order.Record{ID: "zz", Attempts: []order.Attempt{{GID: "x2", Kind: order.Payment, State: order.AttemptOpen}}}, all["zz"])
	assert.Contains(t, all, "00000001")
	fit := 0
	for _, r := range all {
		if r.EventsFit() && len(r.Lines) > 0 && len(r.Attempts) == 1 {
			fit++
		}
	}
	assert.Equal(t, n, fit)

	// None at all.
	db = mysqltest.Open(t, migrations.FS, mq.Tables())
	empty := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	require.NoError(t, empty.Scan(t.Context(), func(records []order.Record) { assert.Empty(t, records) }))
}
