//go:build compose

package compose

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/deploy/demo"
	"example.com/fourfold/deploy/system"
)

// short is a layer in which unpaid orders expire soon: each is one more timer that must arrive.
const short = `services:
  order: {environment: &short {ORDER_TTL: 10s}}
  order-2: {environment: *short}
  gateway: {environment: &open {LIMIT_STRANGERS: "0", LIMIT_ADDRESSES: "0"}}
  gateway-2: {environment: *open}
`

// TestTakeOver takes the master broker away under 50 messages a second: one is killed, then the other one, and one is frozen. The replica takes
// messages within 10 s, nothing that was answered is lost, events have their effects meanwhile, once and in order, and the one that was away
// becomes the replica. An instance of a service, a coordinator and a gateway may die as well.
func TestTakeOver(t *testing.T) {
	ctx := t.Context()
	layer := filepath.Join(t.TempDir(), "short.yaml")
	require.NoError(t, os.WriteFile(layer, []byte(short), 0o600))
	s := open(t, Options{Replicas: 2, more: []string{layer}})
	began := time.Now()
	up, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	require.NoError(t, s.Up(up))
	healthy := time.Since(began)
	target, err := s.Seed(ctx)
	require.NoError(t, err)
	d, err := demo.New(ctx, s.dir, s)
	require.NoError(t, err)
	defer func() { _ = d.Close() }()

	db, err := sql.Open("mysql", target.MySQL.DSN("shop_order"))
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	queues, err := redis.Open(redis.Config{Addr: target.Queues, Timeout: 5 * time.Second})
	require.NoError(t, err)
	defer queues.Close()

	b := s.brokers(t)
	p := b.send(t)
	shop := openShop(t, target)
	for _, way := range []struct{ name, take, back string }{
		{"killed", "kill", "start"},
		{"killed too", "kill", "start"},
		{"frozen", "pause", "unpause"}, // its connections stay open, and it does not know that it is not the master any more
	} {
		t.Run("the master is "+way.name, func(t *testing.T) {
			awaitMode(t, queues, redis.Normal)
			b.awaitReplica(t)
			from := time.Now()
			shop.more(t, 100)
			master := b.master(t)
			id := s.inspect(t, master, "{{.Id}}")
			answered, away := p.answered(), time.Now()
			require.NoError(t, exec.CommandContext(ctx, "docker", way.take, id).Run())
			if at, err := time.Parse(time.RFC3339Nano, docker(t, "{{.State.FinishedAt}}", id)); err == nil && at.After(away) {
				away = at // of one that was killed
			}
			require.Eventually(t, func() bool { return p.answered() > answered+200 && p.last().by != master }, time.Minute, 10*time.Millisecond)
			takes := p.firstBy(b.master(t), away)
			assert.Less(t, takes.at.Sub(away), 10*time.Second, "another broker takes messages")
			shop.more(t, 200)
			awaitMode(t, queues, redis.Normal)
			mode, to := "the mode was NORMAL all the time", time.Now()
			if s := look(t, queues); s.Left.After(away) {
				mode = fmt.Sprintf("the mode was DEGRADED after %.1f s and NORMAL after %.1f s", s.Left.Sub(away).Seconds(), s.Since.Sub(away).Seconds())
				assert.Less(t, s.Left.Sub(away), 5*time.Second)
			}
			rate, longest := followed(t, db, from, to)
			t.Logf("%s is %s: %s takes messages after %.1f s; %s; %s", master, way.name, takes.by, takes.at.Sub(away).Seconds(), mode, rate)
			assert.Less(t, longest, 30*time.Second, "commit to effect") // consumers look for the new master every 2 s, and pull again after 3 s
			require.NoError(t, exec.CommandContext(ctx, "docker", way.back, id).Run())
			b.find(t)
			b.awaitReplica(t)
		})
	}
	killed := []string{"order-2", "dtm", "gateway"}
	t.Run("an instance of each dies", func(t *testing.T) {
		_, err := s.run(ctx, append([]string{"kill"}, killed...)...)
		require.NoError(t, err)
		shop.only(target.Gateways[1])
		shop.more(t, 100)
		_, err = s.run(ctx, append([]string{"start"}, killed...)...)
		require.NoError(t, err)
		shop.more(t, 100)
	})
	shop.stop()
	t.Log(shop)
	if _, failed := shop.failed.Load("500 INTERNAL"); failed {
		t.Errorf("an answer was no refusal:\n%s", s.faults(t))
	}
	p.stop()
	p.requireAll(t)
	t.Run("measured", func(t *testing.T) { s.measure(t, healthy, 2500) })
	for what, query := range effects {
		still := []string{""}
		assert.Eventually(t, func() bool { still[0] = wrong(ctx, db, query); return still[0] == "" }, 90*time.Second, 500*time.Millisecond, "%s: %v",
			what, still)
	}
	for _, name := range killed {
		require.Eventually(t, func() bool { return s.healthy(t, name) }, time.Minute, time.Second)
	}
	s.pays(t, d)
	require.NoError(t, d.Close())
	s.end(t)
}

// faults returns what the processes logged as errors.
func (s *System) faults(t *testing.T) string {
	t.Helper()
	logs, err := s.run(t.Context(), "logs", "--no-color")
	require.NoError(t, err)
	var faults []string
	for line := range strings.SplitSeq(logs, "\n") {
		if strings.Contains(line, `"level":"ERROR"`) {
			faults = append(faults, line)
		}
	}
	return strings.Join(faults[:min(len(faults), 40)], "\n")
}

// cluster asks name servers and brokers at the addresses of their containers.
type cluster struct {
	s     *System
	names string
	mu    sync.Mutex
	addrs map[string]string // by process
}

func (s *System) brokers(t *testing.T) *cluster {
	c := &cluster{s: s, names: s.inside(t, "namesrv") + ":9876"}
	c.find(t)
	return c
}

// inside returns the address of a process in the network of all.
func (s *System) inside(t *testing.T, process string) string {
	t.Helper()
	return s.inspect(t, process, fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", s.project+"_default"))
}

// find looks up where the brokers are. A container that is started again may have another address.
func (c *cluster) find(t *testing.T) {
	found := map[string]string{}
	for _, name := range []string{"broker", "broker-2"} {
		found[name] = c.s.inside(t, name) + ":10911"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs = found
}

func (c *cluster) addr(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addrs[name]
}

// current returns which broker is the master, as the name server says.
func (c *cluster) current(ctx context.Context) (name string, err error) {
	masters, err := remoting.Masters(ctx, c.names)
	if err == nil && len(masters) != 1 {
		err = fmt.Errorf("the masters are %v", masters)
	}
	if err != nil {
		return "", err
	}
	name, _, _ = strings.Cut(masters[0], ":")
	return name, nil
}

func (c *cluster) master(t *testing.T) string {
	t.Helper()
	name, err := c.current(t.Context())
	require.NoError(t, err)
	return name
}

// awaitReplica waits until there is a replica that has all that the master has, and its topics.
func (c *cluster) awaitReplica(t *testing.T) {
	t.Helper()
	const haStatus = 907
	require.Eventually(t, func() bool {
		master, err := c.current(t.Context())
		if err != nil {
			return false
		}
		text, err := remoting.Ask(t.Context(), c.addr(master), haStatus)
		var status struct{ InSyncSlaveNums int }
		if err != nil || json.Unmarshal(text, &status) != nil || status.InSyncSlaveNums != 1 {
			return false
		}
		for _, name := range []string{"broker", "broker-2"} {
			if _, err := remoting.Ask(t.Context(), c.addr(name), remoting.TopicConfig, "topic", probed); err != nil {
				return false
			}
		}
		return true
	}, time.Minute, 200*time.Millisecond, "a replica is in sync")
}

// probed is a topic with one queue, to which only this test sends.
const probed = "take-over"

// producer sends to the master whenever there is one, 50 times a second, and does not repeat what failed.
type producer struct {
	c    *cluster
	stop func()
	mu   sync.Mutex
	took []taken
}

// taken is a message that a broker has answered for.
type taken struct {
	n  int
	at time.Time
	by string
}

func (c *cluster) send(t *testing.T) *producer {
	const sendMessage = 310
	_, err := remoting.Ask(t.Context(), c.addr(c.master(t)), remoting.CreateTopic, "topic", probed, "defaultTopic", "TBW102", "readQueueNums", "1",
		"writeQueueNums", "1", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &producer{c: c}
	var wg sync.WaitGroup
	p.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(p.stop)
	wg.Go(func() {
		master := ""
		for n, tick := 0, time.NewTicker(20*time.Millisecond); ctx.Err() == nil; n++ {
			<-tick.C
			one, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			var err error
			if master == "" {
				master, err = c.current(one)
			}
			if err == nil {
				_, err = remoting.Credentials{}.Ask(one, c.addr(master), sendMessage, []byte(strconv.Itoa(n)), "a", "take-over", "b", probed, "c", "TBW102",
					"d", "1", "e", "0", "f", "0", "g", strconv.FormatInt(time.Now().UnixMilli(), 10), "h", "0", "i", "", "j", "0", "k", "false",
					"m", "false")
			}
			cancel()
			if err != nil {
				master = ""
				continue
			}
			p.mu.Lock()
			p.took = append(p.took, taken{n, time.Now(), master})
			p.mu.Unlock()
		}
	})
	return p
}

func (p *producer) answered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.took)
}

// last returns the last message that was answered.
func (p *producer) last() taken {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took[len(p.took)-1]
}

// firstBy returns the first message that the broker answered after at.
func (p *producer) firstBy(broker string, at time.Time) taken {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.took {
		if m.by == broker && m.at.After(at) {
			return m
		}
	}
	return taken{}
}

// requireAll reads the topic from its beginning and requires that every message that was answered is there, in the order in which it was sent.
// One that was not answered in time may be there too, and late.
func (p *producer) requireAll(t *testing.T) {
	t.Helper()
	const pull = 11
	master := p.c.addr(p.c.master(t))
	answered, there, last := map[int]bool{}, map[int]bool{}, -1
	for _, m := range p.took {
		answered[m.n] = true
	}
	for offset := 0; ; {
		text, err := remoting.Ask(t.Context(), master, pull, "consumerGroup", "take-over", "topic", probed, "queueId", "0",
			"queueOffset", strconv.Itoa(offset), "maxMsgNums", "32", "sysFlag", "4", "commitOffset", "0", "suspendTimeoutMillis", "0",
			"subVersion", "0", "subscription", "*", "expressionType", "TAG")
		if err != nil { // the end
			t.Logf("at offset %d: %v", offset, err)
			break
		}
		for _, m := range primitive.DecodeMessage(text) {
			n, err := strconv.Atoi(string(m.Body))
			require.NoError(t, err)
			there[n], offset = true, int(m.QueueOffset)+1
			if answered[n] {
				assert.Greater(t, n, last, "in order")
				last = n
			}
		}
	}
	var lost []int
	for _, m := range p.took {
		if !there[m.n] {
			lost = append(lost, m.n)
		}
	}
	assert.Empty(t, lost, "of %d messages that were answered", len(p.took))
	t.Logf("%d messages sent by the test were answered, %d are lost", len(p.took), len(lost))
}

// shop is customers at both gateways.
type shop struct {
	gateways              []string
	alone                 atomic.Value // of gateways, "" for all
	sku                   string
	signed, ordered, paid atomic.Int64
	failed                sync.Map // by answer: how often
	stop                  func()
}

func (s *shop) String() string {
	text := fmt.Sprintf("%d sign-ups, %d orders, %d payments", s.signed.Load(), s.ordered.Load(), s.paid.Load())
	s.failed.Range(func(what, n any) bool {
		text += fmt.Sprintf("; %d times %s", n.(*atomic.Int64).Load(), what)
		return true
	})
	return text
}

// openShop opens the shop: shoppers order, up to 32 times a second in all, and pay each tenth order; somebody signs up each half second.
func openShop(t *testing.T, target system.Target) *shop {
	s := &shop{gateways: target.Gateways, sku: "ha-" + strings.ToLower(rand.Text()[:8])}
	s.only("")
	ctx, cancel := context.WithCancel(context.Background())
	operator, err := s.signIn(ctx, target.Operator.Login, target.Operator.Password)
	require.NoError(t, err)
	require.NoError(t, operator.do(ctx, "/v1/ops/products", map[string]any{"sku": s.sku, "name": "HA", "price_cents": 500}, nil))
	require.NoError(t, operator.do(ctx, "/v1/ops/products/"+s.sku+"/stock", map[string]any{"quantity": 100000}, nil))
	var wg sync.WaitGroup
	s.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(s.stop)
	for range 8 {
		c, err := s.signUp(ctx)
		require.NoError(t, err)
		require.Eventually(t, func() bool { _, err := c.order(ctx); return err == nil }, time.Minute, 100*time.Millisecond)
		s.each(ctx, &wg, 250*time.Millisecond, func() error {
			id, err := c.order(ctx)
			if err != nil {
				return err
			}
			s.ordered.Add(1)
			if mrand.N(10) > 0 {
				return nil
			}
			if err = c.do(ctx, "/v1/orders/"+id+"/pay", struct{}{}, nil); err == nil {
				s.paid.Add(1)
			}
			return err
		})
	}
	s.each(ctx, &wg, 500*time.Millisecond, func() error {
		_, err := s.signUp(ctx)
		return err
	})
	return s
}

// each calls do every so often until ctx ends, and counts its failures.
func (s *shop) each(ctx context.Context, wg *sync.WaitGroup, every time.Duration, do func() error) {
	wg.Go(func() {
		for tick := time.NewTicker(every); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := do(); err != nil && ctx.Err() == nil {
				n, _ := s.failed.LoadOrStore(err.Error(), &atomic.Int64{})
				n.(*atomic.Int64).Add(1)
			}
		}
	})
}

// only lets customers go to one gateway.
func (s *shop) only(gateway string) { s.alone.Store(gateway) }

// more waits for n more orders, and payments among them.
func (s *shop) more(t *testing.T, n int64) {
	t.Helper()
	ordered, paid := s.ordered.Load()+n, s.paid.Load()+n/50
	require.Eventually(t, func() bool { return s.ordered.Load() >= ordered && s.paid.Load() >= paid }, time.Minute, 10*time.Millisecond, "%s", s)
}

// customer is a member who is signed in.
type customer struct {
	shop  *shop
	token string
}

func (s *shop) signUp(ctx context.Context) (customer, error) {
	email := strings.ToLower(rand.Text()) + "@example.com"
	err := customer{shop: s}.do(ctx, "/v1/members", map[string]any{"phone": fmt.Sprintf("+861%010d", mrand.N(int64(1e10))), "email": email,
		"name": "HA", "password": "correct horse"}, nil)
	if err != nil {
		return customer{}, err
	}
	s.signed.Add(1)
	return s.signIn(ctx, email, "correct horse")
}

func (s *shop) signIn(ctx context.Context, login, password string) (customer, error) {
	var session struct {
		AccessToken string `json:"access_token"`
	}
	err := customer{shop: s}.do(ctx, "/v1/sessions", map[string]any{"login": login, "password": password}, &session)
	return customer{s, session.AccessToken}, err
}

func (c customer) order(ctx context.Context) (id string, err error) {
	var o struct{ ID string }
	err = c.do(ctx, "/v1/orders", map[string]any{"lines": []any{map[string]any{"sku": c.shop.sku, "quantity": 1}}}, &o)
	return o.ID, err
}

// do makes one call, once. What fails is not repeated.
func (c customer) do(ctx context.Context, path string, body, reply any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	gateway := c.shop.alone.Load().(string)
	if gateway == "" {
		gateway = c.shop.gateways[mrand.N(len(c.shop.gateways))]
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Idempotency-Key", rand.Text())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.New("no answer")
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode > 299 {
		var refusal struct{ Reason string }
		_ = json.Unmarshal(answer, &refusal)
		err = fmt.Errorf("%d %s", res.StatusCode, refusal.Reason)
	}
	if err == nil && reply != nil {
		err = json.Unmarshal(answer, reply)
	}
	return err
}

func look(t *testing.T, q *redis.Queues) redis.State {
	t.Helper()
	s, err := q.Look(t.Context())
	require.NoError(t, err)
	return s
}

func awaitMode(t *testing.T, q *redis.Queues, want redis.Mode) {
	t.Helper()
	var s redis.State
	require.Eventually(t, func() bool { s = look(t, q); return s.Mode == want }, 100*time.Second, 10*time.Millisecond, "%s: %v", want, &s)
}

// ofAll returns the rows of a query of all services together.
func ofAll(query string) string {
	var all []string
	for _, service := range system.Databases() {
		all = append(all, strings.ReplaceAll(query, "shop.", "shop_"+service+"."))
	}
	return "(" + strings.Join(all, " UNION ALL ") + ")"
}

var received = ofAll("SELECT event_id, grp, topic, source, subject, generation, seq, state, created_at, closed_at FROM shop.mq_inbox")

// effects are queries of what is wrong. The column row_id names it.
var effects = map[string]string{
	"what is to be sent is sent":       ofAll("SELECT event_id AS row_id FROM shop.mq_outbox WHERE state NOT IN ('SENT', 'VOID')"),
	"what has come has had its effect": ofAll("SELECT event_id AS row_id FROM shop.mq_inbox WHERE state NOT IN ('DONE', 'OLD')"),
	"each order's events came to notify": `(SELECT e.event_id AS row_id FROM shop_order.order_event e LEFT JOIN shop_notify.mq_inbox i
		ON i.grp = 'notify-orders' AND i.event_id = e.event_id AND i.state = 'DONE' WHERE i.id IS NULL)`,
	"each order has all its events": `(SELECT o.id AS row_id FROM shop_order.orders o LEFT JOIN shop_order.order_event e ON e.order_id = o.id
		GROUP BY o.id, o.event_seq HAVING COUNT(e.id) <> o.event_seq)`,
	"each sign-up came to all three": `(SELECT x.event_id AS row_id FROM shop_member.mq_outbox x LEFT JOIN ` + received + ` i
		ON i.event_id = x.event_id AND i.state = 'DONE' WHERE x.topic = 'member-events' AND x.state = 'SENT'
		GROUP BY x.event_id HAVING COUNT(DISTINCT i.grp) <> 3)`,
	"each member has points, once": `(SELECT m.id AS row_id FROM shop_member.member m LEFT JOIN shop_credit.credit_entry e
		ON e.member_id = m.id AND e.source LIKE 'registration:%' AND e.status = 'ADDED' WHERE ` + signedUp + `
		GROUP BY m.id HAVING COUNT(e.source) <> 1)`,
	"each member has an SMS and an e-mail, once": `(SELECT m.id AS row_id FROM shop_member.member m LEFT JOIN shop_notify.notification n
		ON n.event_type = 'member.registered' AND n.recipient IN (m.phone, m.email) AND n.state = 'SENT' WHERE ` + signedUp + `
		GROUP BY m.id HAVING COUNT(n.id) <> 2)`,
	"each order that nobody pays expires": `(SELECT id AS row_id FROM shop_order.orders WHERE status = 'CREATED')`,
	"no key regresses": `(SELECT event_id AS row_id FROM (SELECT event_id, seq, MAX(seq) OVER (PARTITION BY grp, source, subject, generation
		ORDER BY closed_at, seq) AS most FROM ` + received + ` i WHERE grp IN ('notify-orders', 'order-deliveries', 'order-products')
		AND state = 'DONE') o WHERE seq < most)`,
}

const signedUp = "m.email NOT IN ('operator@example.com', 'demo@example.com')"

// wrong returns how many rows a query of effects has, and some of them; "" for none.
func wrong(ctx context.Context, db *sql.DB, query string) string {
	var n int
	var some sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*), LEFT(GROUP_CONCAT(row_id), 200) FROM "+query+" q").Scan(&n, &some); err != nil {
		return err.Error()
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("not with %d: %s", n, some.String)
}

func between(from, to time.Time) string {
	return fmt.Sprintf("o.created_at BETWEEN FROM_UNIXTIME(%d / 1000) AND FROM_UNIXTIME(%d / 1000)", from.UnixMilli(), to.UnixMilli())
}

// followed says how many events were committed between from and to, and how long it took until they had their effects. It requires that they
// were 50 a second.
func followed(t *testing.T, db *sql.DB, from, to time.Time) (text string, longest time.Duration) {
	t.Helper()
	var events float64
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+ofAll("SELECT created_at FROM shop.mq_outbox")+" o WHERE "+
		between(from, to)).Scan(&events))
	assert.GreaterOrEqual(t, events/to.Sub(from).Seconds(), 50.0, "messages a second")
	var n, median, p99, most sql.NullInt64
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*), MAX(IF(place <= 0.5, ms, 0)), MAX(IF(place <= 0.99, ms, 0)), MAX(ms) FROM (
		SELECT CAST(TIMESTAMPDIFF(MICROSECOND, o.created_at, i.closed_at) / 1000 AS SIGNED) AS ms, PERCENT_RANK() OVER
		(ORDER BY TIMESTAMPDIFF(MICROSECOND, o.created_at, i.closed_at)) AS place FROM `+
		ofAll("SELECT event_id, created_at FROM shop.mq_outbox WHERE deliver_at IS NULL")+` o JOIN `+received+` i USING (event_id)
		WHERE i.state = 'DONE' AND `+between(from, to)+") q").Scan(&n, &median, &p99, &most))
	return fmt.Sprintf("%.0f events a second; %d effects, commit to effect median %d ms, 99 %% %d ms, the longest %d ms",
			events/to.Sub(from).Seconds(), n.Int64, median.Int64, p99.Int64, most.Int64),
		time.Duration(most.Int64) * time.Millisecond
}
