package outage_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/redistest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// world is a service of two processes, each with a network of its own to the broker.
type world struct {
	broker *rocketmqtest.Server
	redis  *redistest.Server
	queues *redis.Queues
	db     *sql.DB
	dsn    string
	topic  string
	log    *logs
	a, b   *process
	nets   []*network // of a and of b
}

var migrations = fstest.MapFS{"0001_effect.sql": mqlaws.Migrations["0001_effect.sql"], "0002_fact.sql": {Data: []byte(`-- +goose Up
CREATE TABLE fact (subject VARBINARY(128) NOT NULL PRIMARY KEY, n BIGINT NOT NULL);`)}}

// newWorld starts a world in which facts are committed, and waits until they have their effects. redisArgs are added to Redis' command line.
func newWorld(t *testing.T, redisArgs ...string) *world {
	t.Helper()
	return newWorldAt(t, rocketmqtest.Shared(t), redisArgs...)
}

// newWorldAt is newWorld with that broker.
func newWorldAt(t *testing.T, broker *rocketmqtest.Server, redisArgs ...string) *world {
	t.Helper()
	w := &world{broker: broker, dsn: mysqltest.DSN(t), log: &logs{}}
	w.topic = w.broker.Topic(t)
	w.redis = redistest.Start(t, append([]string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"}, redisArgs...)...)
	var err error
	w.db, err = database.Open(database.Config{DSN: w.dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.db.Close() })
	require.NoError(t, database.Migrate(t.Context(), w.db, migrations, mq.Tables()))
	w.queues, err = redis.Open(redis.Config{Addr: w.redis.Addr, Timeout: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(w.queues.Close)
	t.Cleanup(func() {
		if t.Failed() {
			lines, _ := w.queues.History(context.Background())
			backlog, _ := w.queues.Backlog(context.Background())
			t.Logf("history: %s\nbacklog: %+v\nprocesses: %s", strings.Join(lines, "\n"), backlog, w.log.tail())
		}
	})
	for range 2 {
		w.nets = append(w.nets, newNetwork(t, w.broker))
	}
	w.a, w.b = w.start(t, w.nets[0].names), w.start(t, w.nets[1].names)
	w.a.say("facts on")
	w.b.say("facts on")
	w.more(t, 50)
	w.await(t, redis.Normal, 10*time.Second)
	return w
}

// more waits until n more facts have had their effects in two groups.
func (w *world) more(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		n, err := strconv.Atoi(strings.Fields(mysqltest.Dump(t, w.db, "SELECT COUNT(*) FROM effect WHERE grp <> 'newest'"))[0])
		require.NoError(t, err)
		return n
	}
	want := count() + 2*n
	require.Eventually(t, func() bool { return count() >= want }, 60*time.Second, 20*time.Millisecond, "%d more facts have their effects", n)
}

// await waits until the mode is want, and returns since when it is.
func (w *world) await(t *testing.T, want redis.Mode, longest time.Duration) time.Time {
	t.Helper()
	var s redis.State
	require.Eventually(t, func() bool {
		var err error
		s, err = w.queues.Look(t.Context())
		return err == nil && s.Epoch > 0 && s.Mode == want
	}, longest, 10*time.Millisecond, "%s: %v", want, &s)
	return s.Since
}

// raw connects to Redis.
func (w *world) raw(t *testing.T) *goredis.Client {
	rdb := goredis.NewClient(&goredis.Options{Addr: w.redis.Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// settle ends the facts, waits until everything has settled, and checks that each committed fact had one effect in each group, in order where
// that is promised, and that nothing is left anywhere.
func (w *world) settle(t *testing.T) {
	t.Helper()
	w.await(t, redis.Normal, 100*time.Second)
	w.a.say("facts off")
	w.b.say("facts off")
	for what, query := range map[string]string{
		"nothing waits in the outbox": "SELECT event_id FROM mq_outbox WHERE state = 'READY'",
		"nothing waits in the inbox":  "SELECT event_id FROM mq_inbox WHERE state IN ('WAITING', 'DEAD')",
		"each event had one effect in strict and in unordered": `SELECT o.event_id FROM mq_outbox o JOIN (SELECT 'strict' AS grp UNION SELECT 'unordered') g
			LEFT JOIN effect e ON e.grp = g.grp AND e.event_id = o.event_id GROUP BY o.event_id, g.grp HAVING COUNT(e.id) <> 1`,
		"newest had none twice, and the last of each subject": `SELECT event_id FROM effect WHERE grp = 'newest' GROUP BY event_id HAVING COUNT(*) > 1
			UNION ALL SELECT f.subject FROM fact f LEFT JOIN effect e ON e.grp = 'newest' AND e.subject = f.subject AND e.seq = f.n WHERE e.id IS NULL`,
		"each fact has its event": "SELECT f.subject FROM fact f LEFT JOIN mq_outbox o ON o.subject = f.subject GROUP BY f.subject, f.n HAVING COUNT(o.id) <> f.n",
	} {
		require.Eventually(t, func() bool { return mysqltest.Dump(t, w.db, query+" LIMIT 5") == "--\n" }, 60*time.Second, 100*time.Millisecond, what)
	}
	assert.Equal(t, "--\n", mysqltest.Dump(t, w.db, `SELECT grp, subject, seq, most FROM (SELECT grp, subject, seq,
		MAX(seq) OVER (PARTITION BY grp, subject ORDER BY id) AS most FROM effect WHERE grp <> 'unordered') e WHERE seq < most LIMIT 5`),
		"no effect went backwards")
	require.Eventually(t, func() bool {
		b, err := w.queues.Backlog(t.Context())
		return err == nil && b.Entries == 0
	}, 20*time.Second, 50*time.Millisecond, "nothing is left in the queues")
}

// delays returns the median and 99 % of the times from commit to effect, of what was committed between from and to.
func (w *world) delays(t *testing.T, from, to time.Time) string {
	t.Helper()
	return strings.TrimSpace(strings.Trim(mysqltest.Dump(t, w.db, fmt.Sprintf(`SELECT CONCAT(COUNT(*), ' effects, median ', MAX(IF(place <= 0.5, ms, 0)), ' ms, 99 %% ',
		MAX(IF(place <= 0.99, ms, 0)), ' ms') FROM (SELECT CAST(TIMESTAMPDIFF(MICROSECOND, o.created_at, e.at) / 1000 AS SIGNED) AS ms, PERCENT_RANK() OVER
		(ORDER BY TIMESTAMPDIFF(MICROSECOND, o.created_at, e.at)) AS place FROM mq_outbox o JOIN effect e USING (event_id) WHERE e.grp <> 'newest' AND o.created_at
		BETWEEN '%s' AND '%s') q`, stamp(from), stamp(to))), "-\n"))
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000") }

// logs keeps what processes say.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	return text[max(0, len(text)-4000):]
}

var _ io.Writer = (*logs)(nil)

// network lies between one process and name server and broker.
type network struct {
	names  string // where the process finds the name server
	broker *toxiproxy.Proxy
}

func newNetwork(t *testing.T, s *rocketmqtest.Server) *network {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	listen := func(name, upstream string) *toxiproxy.Proxy {
		claim, err := port.Take()
		require.NoError(t, err)
		t.Cleanup(claim.Close)
		p := toxiproxy.NewProxy(server, name, claim.Addr(), upstream)
		require.NoError(t, p.Start())
		t.Cleanup(p.Stop)
		return p
	}
	broker, names := listen("broker", s.Addr), listen("names", s.NameServer)
	require.Len(t, broker.Listen, len(s.Addr), "the name server's answer keeps its length")
	_, err := names.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type": "rewrite", "stream": "downstream", "attributes": {"from": %q, "to": %q}}`,
		s.Addr, broker.Listen)))
	require.NoError(t, err)
	return &network{names.Listen, broker}
}

// disturb adds toxics to the way to the broker until end is called; without toxics nobody listens there.
func (n *network) disturb(t *testing.T, kinds ...string) (end func()) {
	t.Helper()
	if len(kinds) == 0 {
		n.broker.Stop()
		return sync.OnceFunc(func() { require.NoError(t, n.broker.Start()) })
	}
	var names []string
	for _, text := range kinds {
		added, err := n.broker.Toxics.AddToxicJson(strings.NewReader(text))
		require.NoError(t, err)
		names = append(names, added.Name)
	}
	return sync.OnceFunc(func() {
		for _, name := range names {
			assert.NoError(t, n.broker.Toxics.RemoveToxic(context.Background(), name))
		}
	})
}

// rewrite replaces one text by another of the same length.
type rewrite struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func (r *rewrite) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			c.Data = bytes.ReplaceAll(c.Data, []byte(r.From), []byte(r.To))
			stub.Output <- c
		}
	}
}

func init() { toxics.Register("rewrite", new(rewrite)) }

// is reports whether p is the process that calls itself instance.
func (w *world) is(instance string, p *process) bool {
	return strings.HasPrefix(instance, fmt.Sprintf("shop-%d-", p.cmd.Process.Pid))
}

// waitingInBroker returns how many events were sent that strict has not received.
func (w *world) waitingInBroker(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(strings.Fields(mysqltest.Dump(t, w.db, `SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT' AND event_id NOT IN
		(SELECT event_id FROM mq_inbox WHERE grp LIKE 'strict-%')`))[0])
	require.NoError(t, err)
	return n
}

// strictIsThrough reports whether strict has had every event but for those of the last seconds.
func (w *world) strictIsThrough(t *testing.T) bool {
	t.Helper()
	return mysqltest.Dump(t, w.db, `SELECT event_id FROM mq_outbox WHERE created_at < NOW() - INTERVAL 5 SECOND AND event_id NOT IN
		(SELECT event_id FROM effect WHERE grp = 'strict') LIMIT 1`) == "--\n"
}
