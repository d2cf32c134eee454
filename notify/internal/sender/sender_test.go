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
var quick = sender.Times{Every: 10 * time.Millisecond, Lease: 11 * time.Second, Stop: 5 * time.Second, LongestPause: 20 * time.Millisecond,
	Unanswered: 20 * time.Millisecond, GiveUp: 24 * time.Hour}

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
	p, err := sms.New(sms.Config{URL: server.URL, Token: "t", Timeout: 300 * time.Millisecond})
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
	run(t, s, g.open(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1, 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case 3:
			<-r.Context().Done()
		}
	}), quick)
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
	run(t, mysql.NewStore(db), &c, quick)
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
	require.NoError(t, s.Postpone(t.Context(), dead[0], 0, "late", false))
	none, err = s.Lease(t.Context(), notification.SMS, time.Minute, 10)
	require.NoError(t, err)
	assert.Empty(t, none, "the lease is the other's")
	require.NoError(t, s.Close(t.Context(), "n-1", notification.Sent, ""))
	require.NoError(t, s.Close(t.Context(), "n-1", notification.Failed, "late"))
	assert.Equal(t, "n-1 SENT 2 0 \n--\n", mysqltest.Dump(t, db, rows), "SENT stays SENT")
}

// TestRenew tests that a lease is renewed by who has it, also behind its end, and by nobody else: neither by one whose lease another has, nor
// when the notification was put off or closed.
func TestRenew(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	lease := func() mysql.Leased {
		t.Helper()
		leased, err := s.Lease(t.Context(), notification.SMS, time.Minute, 10)
		require.NoError(t, err)
		require.Len(t, leased, 1)
		return leased[0]
	}
	over := func() {
		t.Helper()
		_, err := db.ExecContext(t.Context(), "UPDATE notification SET next_at = TIMESTAMPADD(SECOND, -1, NOW(3))")
		require.NoError(t, err)
	}
	renew := func(l mysql.Leased) bool {
		t.Helper()
		held, err := s.Renew(t.Context(), l, time.Minute)
		require.NoError(t, err)
		return held
	}
	first := lease()
	require.True(t, renew(first))
	over()
	require.True(t, renew(first), "nobody took it")
	over()
	second := lease()
	require.False(t, renew(first))
	require.True(t, renew(second))
	require.NoError(t, s.Postpone(t.Context(), second, time.Hour, "later", true))
	require.False(t, renew(second))
	assert.Equal(t, "1 1\n--\n", mysqltest.Dump(t, db, "SELECT unanswered, TIMESTAMPDIFF(MINUTE, NOW(3), next_at) BETWEEN 58 AND 60 FROM notification"),
		"a renewal under way does not shorten the pause")
	over()
	third := lease()
	assert.EqualValues(t, 1, third.Unanswered)
	require.NoError(t, s.Close(t.Context(), "n-1", notification.Sent, ""))
	require.False(t, renew(third))
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

// slow is a provider that thinks until it is let, and keeps what it was given even when nobody waits any more.
type slow struct {
	counted
	began chan struct{}
	let   chan struct{}
	// patient is whether Send waits when its context ends.
	patient bool
	ended   chan error
}

func newSlow() *slow {
	return &slow{began: make(chan struct{}, 10), let: make(chan struct{}), ended: make(chan error, 10)}
}

func (p *slow) Send(ctx context.Context, n notification.Notification) error {
	_ = p.counted.Send(ctx, n)
	p.began <- struct{}{}
	done := ctx.Done()
	if p.patient {
		done = nil
	}
	select {
	case <-p.let:
		return nil
	case <-done:
		p.ended <- context.Cause(ctx)
		return fmt.Errorf("%w: %w", notification.ErrUnknown, ctx.Err())
	}
}

// end waits until the context of a call has ended, and returns why.
func (p *slow) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(20 * time.Second):
		require.Fail(t, "the call goes on")
		return nil
	}
}

func (c *counted) of(id string) int64 {
	n, found := c.times.Load(id)
	if !found {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

// TestSlowProviderIsAskedOnce tests that no sender takes what another one is still being answered about, however long that takes.
func TestSlowProviderIsAskedOnce(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	times := quick
	times.Lease = 6 * time.Second // a sixth and two thirds of it are long for a busy machine's database
	p := newSlow()
	run(t, s, p, times)
	run(t, s, p, times)
	<-p.began
	time.Sleep(times.Lease * 5 / 4)
	assert.EqualValues(t, 1, p.of("n-1"))
	close(p.let)
	await(t, db, "n-1 SENT 1 0 ", rows)
	assert.EqualValues(t, 1, p.of("n-1"))
}

// TestLostLeaseEndsTheCall tests that a call ends before another sender may have the notification, and that what it says late changes nothing.
func TestLostLeaseEndsTheCall(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	times := quick
	times.Lease = 3 * time.Second
	p := newSlow()
	run(t, s, p, times)
	<-p.began
	_, err := db.ExecContext(t.Context(), "UPDATE notification SET owner = 'another', next_at = TIMESTAMPADD(HOUR, 1, NOW(3))")
	require.NoError(t, err)
	require.ErrorContains(t, p.end(t), "another sender may have it")
	time.Sleep(100 * time.Millisecond)
	assert.Equal(t, "another PENDING 0 1\n--\n", mysqltest.Dump(t, db, "SELECT owner, state, unanswered, next_at > NOW(3) FROM notification"))
}

// TestDatabaseAwayEndsTheCall tests that a lease that cannot be renewed is lost in time.
func TestDatabaseAwayEndsTheCall(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	times := quick
	times.Lease, times.Stop = 2*time.Second, 0
	p := newSlow()
	run(t, s, p, times)
	<-p.began
	begin := time.Now()
	require.NoError(t, db.Close())
	require.ErrorContains(t, p.end(t), "the lease on the notification was lost")
	assert.Less(t, time.Since(begin), times.Lease)
}

// TestUnanswered tests that what a provider may have is tried again after long pauses, few times.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	var g gateway
	times := quick
	times.Unanswered = 30 * time.Minute
	run(t, s, g.open(t, func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), times)
	again := func(age time.Duration) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), "UPDATE notification SET next_at = NOW(3), created_at = TIMESTAMPADD(SECOND, ?, NOW(3))", -age.Seconds())
		require.NoError(t, err)
	}
	for n, minutes := range []int{30, 60, 120, 240, 480, 960} {
		if n > 0 {
			again(time.Duration(minutes) * time.Minute / 2)
		}
		await(t, db, fmt.Sprintf("PENDING %d %d 1 1", n+1, n+1), fmt.Sprintf(`SELECT state, tries, unanswered, last_error LIKE 'the provider may have it: %%',
			TIMESTAMPDIFF(SECOND, NOW(3), next_at) BETWEEN %d AND %d FROM notification`, minutes*60-40, minutes*60))
	}
	// The next pause would be 32 h, and it is given up after 24 h.
	again(23 * time.Hour)
	await(t, db, "PENDING 7 1", "SELECT state, tries, TIMESTAMPDIFF(MINUTE, NOW(3), next_at) BETWEEN 58 AND 61 FROM notification WHERE tries = 7")
	again(25 * time.Hour)
	await(t, db, "n-1 FAILED 8 0 tried for too long; 7 times the provider was given it and did not answer: it may have it", rows)
}

// TestLater tests that a provider that names a time is not asked before it.
func TestLater(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	add(t, db, "n-1", notification.SMS)
	var g gateway
	run(t, s, g.open(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "slowly", http.StatusTooManyRequests)
	}), quick)
	await(t, db, "1 1", "SELECT tries, TIMESTAMPDIFF(SECOND, NOW(3), next_at) BETWEEN 3560 AND 3600 FROM notification")
}

// TestStop tests that a sender that is told to stop waits for the answers for a while, and not longer, also for a provider that does not end.
func TestStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answered, patient bool
		want              string
	}{
		"answered in time": {true, false, "n-1 SENT 1 0 "},
		"not answered":     {false, false, "n-1 PENDING 1 1 the provider may have it: context canceled"},
		"not even ended":   {false, true, "n-1 PENDING 1 1 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db := open(t)
			add(t, db, "n-1", notification.SMS)
			p := newSlow()
			p.patient = c.patient
			times := quick
			times.Stop = 2 * time.Second
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- sender.New(s, notification.SMS, p, times).Run(ctx) }()
			<-p.began
			stop()
			begin := time.Now()
			if c.answered {
				time.Sleep(100 * time.Millisecond)
				close(p.let)
			}
			require.NoError(t, <-done)
			assert.Less(t, time.Since(begin), times.Stop+4*time.Second)
			assert.Equal(t, c.want+"\n--\n", mysqltest.Dump(t, db, rows))
			if !c.answered {
				close(p.let)
			}
		})
	}
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
