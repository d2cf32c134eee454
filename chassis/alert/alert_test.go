package alert_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// open returns a database and the alerts of two instances of a service that share it. Their events stay in the outbox.
func open(t *testing.T) (*sql.DB, [2]*alert.Alerts) {
	db := mysqltest.Open(t, fstest.MapFS{"0001_none.sql": {Data: []byte("-- +goose Up\nSELECT 1;")}}, mq.Tables(), alert.Tables())
	var instances [2]*alert.Alerts
	for i := range instances {
		instances[i] = alert.New(mqtest.Absent(t, db, "order"), db, "order")
	}
	return db, instances
}

// told returns what operators were told so far, one line each: key, times, summary.
func told(t *testing.T, db *sql.DB) []string {
	t.Helper()
	var lines []string
	for _, e := range mqtest.Outbox[alertv1.Raised](t, db, alertv1.Topic) {
		assert.Equal(t, []string{alertv1.TypeRaised, "/order", "order"}, []string{e.Type, e.Source, e.Data.GetService()})
		assert.True(t, strings.HasPrefix(e.Subject, "order/"), e.Subject)
		lines = append(lines, fmt.Sprintf("%s %d %s", e.Data.GetKey(), e.Data.GetTimes(), e.Data.GetSummary()))
	}
	return lines
}

// pass moves all alerts d into the past.
func pass(t *testing.T, db *sql.DB, d time.Duration) {
	t.Helper()
	_, err := db.ExecContext(t.Context(),
		`UPDATE alert SET since = TIMESTAMPADD(MICROSECOND, ?, since), next_at = TIMESTAMPADD(MICROSECOND, ?, next_at),
		cleared_at = TIMESTAMPADD(MICROSECOND, ?, cleared_at)`, -d.Microseconds(), -d.Microseconds(), -d.Microseconds())
	require.NoError(t, err)
}

// TestPauses: operators are told at once, then after 5 min, 15 min, 1 h, 4 h, and then once a day, however often an alert is raised.
func TestPauses(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	raise := func() { require.NoError(t, of[0].Raise(t.Context(), "k", "s", "d")) }
	raise()
	raise()
	assert.Len(t, told(t, db), 1)
	for i, pause := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 24 * time.Hour,
		24 * time.Hour} {
		pass(t, db, pause-30*time.Second)
		raise()
		assert.Len(t, told(t, db), i+1, "%v are not over", pause)
		pass(t, db, 31*time.Second)
		raise()
		raise()
		require.Len(t, told(t, db), i+2, "%v are over", pause)
	}
	assert.Equal(t, "k 8 s", told(t, db)[7])
}

// TestClear: an alert that was cleared begins anew, and others go on. A cleared one is deleted in time.
func TestClear(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	require.NoError(t, of[0].Clear(t.Context(), "never raised"))
	require.NoError(t, of[0].Raise(t.Context(), "a", "1", ""))
	require.NoError(t, of[0].Raise(t.Context(), "b", "1", ""))
	pass(t, db, time.Hour)
	require.NoError(t, of[0].Raise(t.Context(), "a", "2", ""))
	require.NoError(t, of[1].Clear(t.Context(), "a"))
	require.NoError(t, of[1].Clear(t.Context(), "a"))
	require.NoError(t, of[0].Raise(t.Context(), "a", "3", ""))
	require.NoError(t, of[0].Raise(t.Context(), "a", "4", ""))
	assert.Equal(t, []string{"a 1 1", "b 1 1", "a 2 2", "a 1 3"}, told(t, db))
	assert.Equal(t, "a 1\nb 0\n--\n", mysqltest.Dump(t, db, "SELECT name, since > NOW(3) - INTERVAL 30 MINUTE FROM alert ORDER BY name"))

	require.NoError(t, of[0].Clear(t.Context(), "b"))
	pass(t, db, 2*time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = database.Retain(db, alert.Retentions(time.Hour)...)(ctx) }()
	require.Eventually(t, func() bool { return mysqltest.Dump(t, db, "SELECT name FROM alert") == "a\n--\n" }, 10*time.Second,
		10*time.Millisecond)
}

// TestClearUnless: of the alerts with a prefix those end for which the condition does not hold, and no others.
func TestClearUnless(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	for _, key := range []string{"a/1", "a/2", "a/", "b/1"} {
		require.NoError(t, of[0].Raise(t.Context(), key, "s", "d"))
	}
	for range 2 {
		require.NoError(t, of[1].ClearUnless(t.Context(), "a/", "{key} = '2'"))
		assert.Equal(t, "a/ 1\na/1 1\na/2 0\nb/1 0\n--\n", mysqltest.Dump(t, db, "SELECT name, cleared_at IS NOT NULL FROM alert ORDER BY name"))
	}
}

// TestRacing: of many that raise the same alert at the same time, in two instances, one tells; and again one when the pause is over.
func TestRacing(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	for round := range 10 {
		var (
			wg    sync.WaitGroup
			start = make(chan struct{})
		)
		for n := range 16 {
			wg.Go(func() {
				<-start
				assert.NoError(t, of[n%2].Raise(t.Context(), "k", "s", "d"))
			})
		}
		close(start)
		wg.Wait()
		require.Len(t, told(t, db), round+1)
		pass(t, db, 48*time.Hour)
	}
}

// TestLongTexts: a key of any length is an alert of its own, with a subject that an event may have.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	key := strings.Repeat("中", 400)
	require.NoError(t, of[0].Raise(t.Context(), key, strings.Repeat("中", 2000), strings.Repeat("中", 20000)))
	require.NoError(t, of[0].Raise(t.Context(), key+"!", "other", ""))
	require.NoError(t, of[0].Raise(t.Context(), key, "again", ""))
	require.Len(t, told(t, db), 2)
	require.NoError(t, of[0].Clear(t.Context(), key))
	require.NoError(t, of[0].Raise(t.Context(), key, "anew", ""))
	require.Len(t, told(t, db), 3)
}

// TestWatch: a group's dead letters raise an alert that says how many there are, since when, why, and what to do. It lists those that failed,
// not those that only wait for them. It is cleared when there are none.
func TestWatch(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	die := func(group, id string, tries int, why string) {
		_, err := db.ExecContext(t.Context(), `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, tries, last_error, event)
			VALUES (?, '/member', ?, 'member-events', 'member.registered', 'm-1', 0, 'DEAD', ?, ?, '{}')`, group, id, tries, why)
		require.NoError(t, err)
	}
	require.NoError(t, of[0].Raise(t.Context(), "payment/g-1", "not settled", ""))
	die("notify-sms", "0", 0, "number 2 came before")
	die("notify-sms", "1", 10, "the provider says no\nat length")
	die("notify-sms", "2", 10, "another reason")
	die("notify-orders", "1", 0, "number 3 came before")
	die("notify-email", "1", 10, "no route to 100%")
	for _, a := range of {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); assert.NoError(t, a.Watch(ctx)) }()
		t.Cleanup(func() { cancel(); <-done })
	}
	require.Eventually(t, func() bool { return len(told(t, db)) == 4 }, 10*time.Second, 10*time.Millisecond)
	lines := told(t, db)
	assert.ElementsMatch(t,
		[]string{"payment/g-1 1 not settled", "dead-letters/notify-email 1 1 event(s) of group notify-email were given up: no route to 100%",
			"dead-letters/notify-orders 1 1 event(s) of group notify-orders wait for earlier ones that have not come",
			"dead-letters/notify-sms 1 2 event(s) of group notify-sms were given up: the provider says no"}, lines)
	detail := mysqltest.Dump(t, db, "SELECT event FROM mq_outbox WHERE subject = 'order/dead-letters/notify-sms'")
	for _, part := range []string{"GET  /v1/ops/dead-letters?group=notify-sms", "POST /v1/ops/dead-letters/redrive", "order-2/redrive",
		"/order-2/discard", "at length", "order-3  member.registered", "What to do:  docs/runbook.md#dead-letters\\n"} {
		assert.Contains(t, detail, part)
	}
	assert.NotContains(t, detail, "order-1 ")
	detail = mysqltest.Dump(t, db, "SELECT event FROM mq_outbox WHERE subject = 'order/dead-letters/notify-orders'")
	assert.Contains(t, detail, "POST /v1/ops/dead-letters/order-4/redrive")
	assert.NotContains(t, detail, "dead-letters/redrive")

	letters := mq.NewDeadLetters(db, func(string) mq.Order { return mq.Unordered })
	require.NoError(t, letters.Discard(t.Context(), 5)) // of notify-email
	n, err := letters.RedriveAll(t.Context(), "notify-email")
	require.NoError(t, err)
	require.Zero(t, n)
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, db,
			"SELECT name FROM alert WHERE cleared_at IS NULL ORDER BY name") == "dead-letters/notify-orders\ndead-letters/notify-sms\npayment/g-1\n--\n"
	}, 15*time.Second, 20*time.Millisecond)
	assert.Equal(t, lines, told(t, db), "nobody is told what is over")
}

// TestWatchRefused: events that the broker refuses for good raise an alert with what to do. It ends when the last one is sent or discarded.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	_, err := db.ExecContext(t.Context(), `INSERT INTO mq_outbox (event_id, topic, subject, event, state, refused_at, last_error)
		VALUES ('1', 'order-events', 'o-1', '{}', 'READY', NOW(3), 'the event is refused: too large'),
		('2', 'order-events', 'o-1', '{}', 'READY', NULL, ''), ('3', 'order-events', 'o-2', '{}', 'SENT', NULL, '')`)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); assert.NoError(t, of[0].Watch(ctx)) }()
	t.Cleanup(func() { cancel(); <-done })
	require.Eventually(t, func() bool { return len(told(t, db)) == 1 }, 10*time.Second, 10*time.Millisecond)
	assert.Equal(t, []string{"outbox-refused 1 1 event(s) of order are refused by the broker: the event is refused: too large"}, told(t, db))
	assert.Contains(t, mysqltest.Dump(t, db, "SELECT event FROM mq_outbox WHERE subject = 'order/outbox-refused'"),
		"POST /v1/ops/refused/order-1/discard")
	_, err = db.ExecContext(t.Context(), "UPDATE mq_outbox SET state = 'DROPPED' WHERE event_id = '1'")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return mysqltest.Dump(t, db, "SELECT name FROM alert WHERE cleared_at IS NULL") == "--\n" },
		15*time.Second, 20*time.Millisecond)
}

// lasting reports whether the alert key lasts.
func lasting(t *testing.T, db *sql.DB, key string) bool {
	t.Helper()
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM alert WHERE name = ? AND cleared_at IS NULL", key).Scan(&n))
	return n == 1
}

// TestOccurrence: of many that see the same occurrence and its end, early or late, one tells each.
func TestOccurrence(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	for n := range int64(10) {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 16 {
			wg.Go(func() {
				<-start
				o := of[i%2].Of(n + 1)
				assert.NoError(t, o.Raise(t.Context(), "k", "it is so", "d"))
				assert.NoError(t, o.Over(t.Context(), "k", "it was so", "d"))
			})
		}
		close(start)
		wg.Wait()
		require.Len(t, told(t, db), 2*int(n+1))
	}
	require.NoError(t, of[0].Of(11).Over(t.Context(), "k", "it was not so", "d"))
	require.NoError(t, of[0].Of(11).Raise(t.Context(), "k", "it is so", "d"))
	require.NoError(t, of[0].Of(10).Over(t.Context(), "k", "it is late", "d"))
	assert.Equal(t, []string{"k 1 it was so", "k 1 it is so"}, told(t, db)[19:])
	assert.True(t, lasting(t, db, "k"))
}
