package sender_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/sender"
	"example.com/fourfold/notify/internal/sms"
	"example.com/fourfold/notify/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

func open(t *testing.T) (*mysql.Store, *sql.DB) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables(), alert.Tables())
	return mysql.NewStore(db), db
}

// add writes a PENDING notification.
func add(t *testing.T, db *sql.DB, id string, channel notification.Channel) {
	t.Helper()
	require.NoError(t, database.InTx(t.Context(), db, func(tx *sql.Tx) error {
		return mysql.NewStore(db).Add(t.Context(), tx, notification.Notification{
			ID: id, Channel: channel, To: "+8613800138000", Text: "hello", State: notification.Pending, Source: "/member", EventID: "e-" + id,
			EventType: "member.registered",
		})
	}))
}

// quick are times for tests that wait for something other than a time.
var quick = sender.Times{Every: 10 * time.Millisecond, Call: 5 * time.Second, Lease: 11 * time.Second, LongestPause: 20 * time.Millisecond,
	GiveUp: 24 * time.Hour}

// run starts a sender for SMS.
func run(t *testing.T, s *mysql.Store, p sender.Provider, times sender.Times) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sender.New(s, notification.SMS, p, times).Run(ctx) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-done)
	})
}

// await waits until the rows read so.
func await(t *testing.T, db *sql.DB, want, query string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, want+"\n--\n", mysqltest.Dump(t, db, query))
	}, 30*time.Second, 20*time.Millisecond)
}

const rows = "SELECT id, state, tries, closed_at IS NULL, last_error FROM notification ORDER BY id"

// gateway is an SMS provider over HTTP: it answers the nth call with what answer returns, and remembers the keys.
type gateway struct {
	mu   sync.Mutex
	keys []string
}

func (g *gateway) open(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *sms.Provider {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // otherwise the server does not notice that the client left
		g.mu.Lock()
		g.keys = append(g.keys, r.Header.Get("Idempotency-Key"))
		n := len(g.keys)
		g.mu.Unlock()
		answer(n, w, r)
	}))
	t.Cleanup(server.Close)
	p, err := sms.New(sms.Config{URL: server.URL, Token: "t"})
	require.NoError(t, err)
	return p
}

// TestTriedAgain tests that the message goes out after failures and a hang, under one key.
func TestTriedAgain(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	add(t, db, "n-2", notification.Email)
	var g gateway
	times := quick
	times.Call = 300 * time.Millisecond
	run(t, s, g.open(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1, 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case 3:
			<-r.Context().Done()
		}
	}), times)
	await(t, db, "n-1 SENT 4 0 \nn-2 PENDING 0 1 ", rows)
	assert.Equal(t, []string{"n-1", "n-1", "n-1", "n-1"}, g.keys)
}

// TestPausesGrow tests that no sender takes a notification for a second or more after a failure.
func TestPausesGrow(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	var g gateway
	times := quick
	times.LongestPause = time.Hour
	run(t, s, g.open(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "a\nb", http.StatusBadGateway)
	}), times)
	await(t, db, "n-1 PENDING 1 1 502 Bad Gateway: a b ", rows)
	_, err := db.ExecContext(t.Context(), "UPDATE notification SET tries = 6, next_at = NOW(3)")
	require.NoError(t, err)
	await(t, db, "1", "SELECT TIMESTAMPDIFF(SECOND, NOW(3), next_at) BETWEEN 55 AND 64 FROM notification WHERE tries = 7")
}

// TestRefused tests that a refused notification is not tried again.
func TestRefused(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	var g gateway
	run(t, s, g.open(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such number", http.StatusUnprocessableEntity)
	}), quick)
	await(t, db, "n-1 FAILED 1 0 refused for good: 422 Unprocessable Entity: no such number ", rows)
	assert.Len(t, g.keys, 1)
}

// crashing takes the database away between the provider's answer and the result.
type crashing struct {
	counted
	database *mysqltest.Server
	back     chan error
}

func (c *crashing) Send(ctx context.Context, n notification.Notification) error {
	c.database.Kill()
	go func() { c.back <- c.database.Restart() }()
	return c.counted.Send(ctx, n)
}

// TestDatabaseAwayBehindTheAnswer tests that the result is written when the database is back, so that nothing is sent again.
func TestDatabaseAwayBehindTheAnswer(t *testing.T) {
	t.Parallel()
	server, err := mysqltest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	require.NoError(t, server.Exec(t.Context(), "CREATE DATABASE shop_notify"))
	db, err := database.Open(database.Config{DSN: server.DSN("shop_notify")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, migrations.FS))
	add(t, db, "n-1", notification.SMS)
	c := crashing{database: server, back: make(chan error, 1)}
	times := quick
	times.Call, times.Lease = 30*time.Second, 61*time.Second
	run(t, mysql.NewStore(db), &c, times)
	require.NoError(t, <-c.back)
	await(t, db, "n-1 SENT 1 0 ", rows)
	n, _ := c.times.Load("n-1")
	assert.Equal(t, int64(1), n.(*atomic.Int64).Load())
}

// counted counts how often each notification is sent.
type counted struct{ times sync.Map }

func (c *counted) Send(_ context.Context, n notification.Notification) error {
	v, _ := c.times.LoadOrStore(n.ID, new(atomic.Int64))
	v.(*atomic.Int64).Add(1)
	return nil
}

// TestSeveralSenders tests that no sender sends what another has.
func TestSeveralSenders(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	const many = 300
	for n := range many {
		add(t, db, fmt.Sprintf("n-%03d", n), notification.SMS)
	}
	var c counted
	for range 4 {
		run(t, s, &c, quick)
	}
	await(t, db, fmt.Sprintf("SENT 1 %d", many), "SELECT state, tries, COUNT(*) FROM notification GROUP BY state, tries")
	n := 0
	c.times.Range(func(id, times any) bool {
		n++
		assert.Equal(t, int64(1), times.(*atomic.Int64).Load(), id)
		return true
	})
	assert.Equal(t, many, n)
}

// TestTooOld tests that a notification that was tried for a day is FAILED, and that one that could not be tried in that time is STALE; the
// provider gets neither.
func TestTooOld(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	add(t, db, "n-2", notification.SMS)
	_, err := db.ExecContext(t.Context(), "UPDATE notification SET created_at = TIMESTAMPADD(HOUR, -25, NOW(3)), tries = IF(id = 'n-1', 9, 0)")
	require.NoError(t, err)
	var c counted
	run(t, s, &c, quick)
	await(t, db, "n-1 FAILED 10 0 tried for too long\nn-2 STALE 1 0 nobody could send it for too long", rows)
	c.times.Range(func(id, _ any) bool { return assert.Fail(t, "sent", id) })
}

// TestLeaseOfTheDead tests that another sender takes over from a dead one when the lease is over, and that what the dead one writes late does
// not stop the other.
func TestLeaseOfTheDead(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	dead, err := s.Lease(t.Context(), notification.SMS, time.Second, 10)
	require.NoError(t, err)
	require.Len(t, dead, 1)
	none, err := s.Lease(t.Context(), notification.SMS, time.Second, 10)
	require.NoError(t, err)
	require.Empty(t, none)
	var other []mysql.Leased
	require.Eventually(t, func() bool {
		other, err = s.Lease(t.Context(), notification.SMS, time.Minute, 10)
		return err != nil || len(other) == 1
	}, 20*time.Second, 50*time.Millisecond)
	require.NoError(t, err)
	require.NoError(t, s.Postpone(t.Context(), dead[0], 0, "late"))
	none, err = s.Lease(t.Context(), notification.SMS, time.Minute, 10)
	require.NoError(t, err)
	assert.Empty(t, none, "the lease is the other's")
	require.NoError(t, s.Close(t.Context(), "n-1", notification.Sent, ""))
	require.NoError(t, s.Close(t.Context(), "n-1", notification.Failed, "late"))
	assert.Equal(t, "n-1 SENT 2 0 \n--\n", mysqltest.Dump(t, db, rows), "SENT stays SENT")
}

// TestDemoInbox tests that a second try adds nothing.
func TestDemoInbox(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	n := notification.Notification{ID: "n-1", Channel: notification.Email, To: "ann@example.com", Subject: "s", Text: "t"}
	for range 3 {
		require.NoError(t, s.DemoMailbox().Send(t.Context(), n))
	}
	assert.Equal(t, "n-1 EMAIL ann@example.com s t\n--\n", mysqltest.Dump(t, db, "SELECT id, channel, recipient, subject, body FROM inbox"))
}

// TestFailingIsAlerted tests one alert per channel while something fails, and none once nothing does.
func TestFailingIsAlerted(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	alerts := alert.New(mqtest.Absent(t, db, "notify"), db, "notify")
	look := func() string {
		t.Helper()
		for _, channel := range []notification.Channel{notification.SMS, notification.Email} {
			require.NoError(t, sender.Look(t.Context(), s, alerts, channel))
		}
		return strings.TrimSuffix(mysqltest.Dump(t, db, "SELECT name FROM alert WHERE cleared_at IS NULL ORDER BY name"), "--\n")
	}
	set := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	add(t, db, "n-1", notification.SMS)
	assert.Empty(t, look(), "a young one is nobody's matter")
	set("UPDATE notification SET created_at = TIMESTAMPADD(MINUTE, -11, NOW(3))")
	assert.Equal(t, "sms-failing\n", look())
	set("UPDATE notification SET state = 'SENT', closed_at = NOW(3), created_at = NOW(3)")
	assert.Empty(t, look())
	set("UPDATE notification SET state = 'FAILED', channel = 'EMAIL'")
	assert.Equal(t, "email-failing\n", look())
	assert.Equal(t, "notify/email-failing\nnotify/sms-failing\n--\n", mysqltest.Dump(t, db, "SELECT subject FROM mq_outbox ORDER BY subject"),
		"one event each")
}

// TestBudgetIsAlerted tests one alert when most of the day's SMS are spent, of all or of a country that is not home, and its end on the next day.
func TestBudgetIsAlerted(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	alerts := alert.New(mqtest.Absent(t, db, "notify"), db, "notify")
	look := func() string {
		t.Helper()
		require.NoError(t, sender.LookAtBudget(t.Context(), s, alerts, notification.Budget{PerDay: 100, PerCountry: 10, Home: "86"}))
		return strings.TrimSuffix(mysqltest.Dump(t, db, "SELECT name FROM alert WHERE cleared_at IS NULL"), "--\n")
	}
	set := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	assert.Empty(t, look())
	set("INSERT INTO sms_spent (day, country, spent) VALUES (UTC_DATE(), '', 79), (UTC_DATE(), '86', 72), (UTC_DATE(), '44', 7)")
	assert.Empty(t, look())
	set("UPDATE sms_spent SET spent = 8 WHERE country = '44'")
	assert.Equal(t, "sms-budget\n", look())
	set("UPDATE sms_spent SET spent = 7 WHERE country = '44'")
	assert.Empty(t, look())
	set("UPDATE sms_spent SET spent = 80 WHERE country = ''")
	assert.Equal(t, "sms-budget\n", look())
	set("UPDATE sms_spent SET day = day - INTERVAL 1 DAY")
	assert.Empty(t, look())
}
