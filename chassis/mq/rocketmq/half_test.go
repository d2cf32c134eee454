package rocketmq_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestBrokerFrozen: while the broker neither answers nor refuses, local transactions happen; one call now and then waits for it, and the others
// do not. When it goes on, each event has one effect, including those whose half message it had taken without saying so.
func TestBrokerFrozen(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := newStage(t, server)
	b := s.dial(t)
	s.consume(t, b)
	const halfTimeout, halfPause = time.Second, 3 * time.Second
	o := mq.NewOutbox(s.db, b,
		mq.OutboxConfig{Grace: 12 * time.Second, LongestTx: 5 * time.Second, HalfTimeout: halfTimeout, HalfPause: halfPause})
	background(t, o.Relay)
	background(t, o.Answer(s.topic))
	made := 0
	publish := func() time.Duration {
		t.Helper()
		subject := fmt.Sprintf("s%d", made)
		made++
		start := time.Now()
		require.NoError(t, o.PublishInTx(t.Context(), s.topic, anonymous(subject),
			func(tx *sql.Tx) error { return fact(t.Context(), tx, subject) }))
		return time.Since(start)
	}
	halves := func() int {
		var n int
		require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM mq_outbox WHERE half_at IS NOT NULL").Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { publish(); return halves() > 0 }, 30*time.Second, 100*time.Millisecond)
	before := halves()

	require.NoError(t, server.Freeze())
	thawed := false
	defer func() {
		if !thawed {
			_ = server.Thaw()
		}
	}()
	start, slow, calls := time.Now(), 0, 0
	for time.Since(start) < 8*time.Second {
		took := publish()
		calls++
		assert.Less(t, took, halfTimeout+time.Second)
		if took >= halfTimeout*9/10 {
			slow++
		}
		time.Sleep(20 * time.Millisecond)
	}
	most := 2 + int(time.Since(start)/(halfTimeout+halfPause))
	t.Logf("%d of %d calls waited for the frozen broker", slow, calls)
	assert.LessOrEqual(t, slow, most)
	assert.GreaterOrEqual(t, slow, 1, "the broker was not frozen")
	assert.Greater(t, calls, 20)
	assert.Equal(t, before, halves(), "a half message was taken by a frozen broker")
	assert.Equal(t, fmt.Sprintf("%d\n--\n", made), mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM fact"))

	require.NoError(t, server.Thaw())
	thawed = true
	require.Eventually(t, func() bool { publish(); return halves() > before }, 30*time.Second, 100*time.Millisecond,
		"half messages are sent again")
	mqlaws.AwaitCount(t, s.db, made, "SELECT COUNT(*) FROM effect")
	require.Eventually(t, func() bool { return s.askedAbout(t) > 0 }, time.Minute, 200*time.Millisecond,
		"the broker took no half message without saying so, or did not ask about it")
	mqlaws.Settled(t, s.db)
	s.told(t)
}

// askedAbout counts the half messages that the broker took without saying so and delivered nevertheless: their rows know of no half message, so
// no end message was sent, and the broker was told to deliver them when it asked.
func (s stage) askedAbout(t *testing.T) (n int) {
	t.Helper()
	ids, err := s.Broker(t, s.service).CommittedHalves(t.Context(), s.topic)
	require.NoError(t, err)
	plain := mysqltest.Dump(t, s.db, "SELECT event_id FROM mq_outbox WHERE half_at IS NULL")
	for _, id := range ids {
		if strings.Contains(plain, id+"\n") {
			n++
		}
	}
	return n
}

// TestEndMessageLost: the broker gets no answer until the row is SENT, on trust; then it asks again, and is answered from the row.
func TestEndMessageLost(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	s.consume(t, s.Dial(t))
	cmd := command("survivor", "mq/local", s.dsn, s.NameServer, s.service, s.topic, 6*time.Second)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = stdin.Close(); _ = cmd.Wait() }()
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	assert.Equal(t, "SENT 0 1\n--\n1\n--\n", mysqltest.Dump(t, s.db, "SELECT state, tries, half_at IS NOT NULL FROM mq_outbox",
		"SELECT a.at > o.closed_at FROM effect a JOIN mq_outbox o ON o.event_id = a.event_id"), "%s", out)
	s.told(t)
}

// failing is a connector to a database: the first call panics, the second hangs and ignores its context, and later ones work.
type failing struct {
	driver.Connector
	asked atomic.Int64
	free  chan struct{}
}

func (f *failing) Connect(ctx context.Context) (driver.Conn, error) {
	switch f.asked.Add(1) {
	case 1:
		panic("out of order")
	case 2:
		<-f.free
	}
	return f.Connector.Connect(ctx)
}

// TestCheckerFails: the broker asks about a committed local transaction, and the check panics; it asks again, and the check hangs; it is
// answered when it asks once more, and the event has its effect once.
func TestCheckerFails(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	s.crash(t, "producer", "mq/local", time.Hour)
	b := s.dial(t)
	s.consume(t, b)
	cfg, err := mysqldriver.ParseDSN(s.dsn)
	require.NoError(t, err)
	connector, err := mysqldriver.NewConnector(cfg)
	require.NoError(t, err)
	f := &failing{Connector: connector, free: make(chan struct{})}
	db := sql.OpenDB(f)
	t.Cleanup(func() { close(f.free); _ = db.Close() })
	background(t, mq.NewOutbox(db, b, mq.OutboxConfig{CheckTimeout: 200 * time.Millisecond}).Answer(s.topic))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	assert.GreaterOrEqual(t, f.asked.Load(), int64(3))
	s.told(t)
}

// TestLateAnnouncement: a process that finds the broker only after the client's first heartbeat can be asked at once, not only after the next
// heartbeat half a minute later.
func TestLateAnnouncement(t *testing.T) {
	t.Parallel()
	s := newStage(t, rocketmqtest.Shared(t))
	s.crash(t, "producer", "mq/local", time.Hour)
	s.consume(t, s.dial(t))
	door := open(t, s.NameServer)
	broker, err := rocketmq.Dial(s.service, rocketmq.Config{NameServers: door.addr})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	door.admit(2) // ask who the master is, and whether the topic exists
	background(t, mq.NewOutbox(s.db, mq.NewBus(s.service, broker, mq.Config{Keys: mqtest.Keys()}), mq.OutboxConfig{}).Answer(s.topic))
	require.Eventually(t, door.used, 20*time.Second, time.Millisecond)
	time.Sleep(2 * time.Second) // the first heartbeat goes nowhere
	found := time.Now()
	door.reopen(t)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	assert.Less(t, time.Since(found), 20*time.Second)
	s.told(t)
}
