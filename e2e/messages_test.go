package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/local/stack"
)

// TestMessages kills the services that send and receive messages, and the broker between them, in a shop of its own. After each part it checks
// in the databases that every committed fact had exactly one effect in each group that follows it.
func TestMessages(t *testing.T) {
	own(t, stack.Options{Env: map[string]string{"REGISTRATION_POINTS": "100", "MQ_TRIES": "3", "HALF_GRACE": halfGrace.String(),
		"MQ_AUDIT_EVERY": "1s", "MQ_AUDIT_AFTER": "5s"}})
	t.Run("sign-up", signUpIsFollowed)
	t.Run("checks", effectsAreSeen)
	t.Run("store deleted", storeDeleted)
	pauseAudits(t)
	t.Run("producer killed", producerKilled)
	t.Run("consumer killed", consumerKilled)
	t.Run("broker killed", brokerKilled)
	t.Run("poison", poison)
	t.Run("again", everythingAgain)
	t.Run("replay", replayAndResend)
	t.Run("without inventory", ordersWithoutInventory)
	t.Run("restored", databaseRestored)
	t.Run("latency", signUpLatency)
}

// halfGrace is when the relay sends what the broker may have only as a half message. What comes earlier came by a check-back.
const halfGrace = 30 * time.Second

// newcomer is a person who signs up.
type newcomer struct{ Phone, Email, Name, Password string }

func someone() newcomer {
	n, err := rand.Int(rand.Reader, big.NewInt(1e10))
	if err != nil {
		panic(err)
	}
	return newcomer{fmt.Sprintf("+861%010d", n), strings.ToLower(rand.Text()) + "@example.com", "E2E", password}
}

// signUp asks for an account. An error means that no answer came.
func (n newcomer) signUp(ctx context.Context, c *client) (answer, error) {
	return c.try(ctx, "POST", "/v1/members", map[string]any{"phone": n.Phone, "email": n.Email, "name": n.Name, "password": n.Password})
}

// signUpIsFollowed: points, SMS and e-mail follow a sign-up by themselves, and an operator can see the way of the message.
func signUpIsFollowed(t *testing.T) {
	n := someone()
	c := anonymous()
	a, err := n.signUp(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, 201, a.code, a.raw)
	c.signIn(t, n.Email, password)
	require.Eventually(t, func() bool { return creditOf(t, c) == "100 0" }, patience, 10*time.Millisecond)
	for _, to := range []string{n.Phone, n.Email} {
		require.Eventually(t, func() bool { return len(inbox(t, to)) == 1 }, patience, 10*time.Millisecond, to)
	}
	member := one(t, db(t, "shop_member"), "SELECT id FROM member WHERE email = ?", n.Email)
	trace := messages(t, "subject="+member)
	require.Len(t, trace, 1)
	assert.Equal(t, "member.registered", trace[0].Type)
	assert.Equal(t, "member", trace[0].Service)
	assert.NotEmpty(t, trace[0].HalfAt, "it was a transactional message")
	assert.NotEmpty(t, trace[0].BornAt)
	var groups []string
	for _, c := range trace[0].Consumptions {
		assert.Equal(t, "DONE", c.State, c.Group)
		groups = append(groups, c.Group)
	}
	assert.ElementsMatch(t, []string{"credit-registration", "notify-sms", "notify-email"}, groups)
	assert.Equal(t, trace, messages(t, "event_id="+trace[0].EventID))

	// The same sign-up again: nothing happens.
	again, err := n.signUp(t.Context(), anonymous())
	require.NoError(t, err)
	require.Equal(t, a.raw, again.raw)
	requireEffects(t, registration)

	// One of somebody else with the same email: the answer is the same, and the owner is told, once.
	stranger := someone()
	stranger.Email, stranger.Password = n.Email, "another horse"
	for range 2 {
		again, err = stranger.signUp(t.Context(), anonymous())
		require.NoError(t, err)
		require.Equal(t, 201, again.code, again.raw)
	}
	require.Eventually(t, func() bool { return len(inbox(t, n.Email)) == 2 }, patience, 10*time.Millisecond)
	requireEffects(t, registration)
	assert.Empty(t, inbox(t, stranger.Phone))
}

// effectsAreSeen spoils one effect after another and requires that it is found: a check that cannot fail proves nothing.
func effectsAreSeen(t *testing.T) {
	c := shopper(t)
	id := c.order(t, product(t, 500, 10), 1)
	require.Equal(t, 200, c.pay(t, id).code)
	slip := operator.must(t, 200, "GET", "/v1/ops/deliveries?order_id="+id, nil).Body.Deliveries[0].ID
	for _, work := range []string{"pick", "ship"} {
		operator.must(t, 200, "POST", "/v1/ops/deliveries/"+slip+"/"+work, nil)
	}
	member := c.must(t, 200, "GET", "/v1/members/me", nil).Body.MemberID
	requireEffects(t, registration)
	for name, s := range map[string]struct{ service, spoil, mend, found string }{
		"points twice": {"shop_credit",
			`INSERT INTO credit_entry (source, member_id, gid, points, status) SELECT 'registration:twice', member_id, '', 100, 'ADDED' FROM credit_entry WHERE source LIKE 'registration:%' LIMIT 1`,
			`DELETE FROM credit_entry WHERE source = 'registration:twice'`, "more"},
		"points for nobody": {"shop_credit",
			`INSERT INTO credit_entry (source, member_id, gid, points, status) VALUES ('registration:nobody', 'nobody', '', 100, 'ADDED')`,
			`DELETE FROM credit_entry WHERE source = 'registration:nobody'`, "more"},
		"a welcome too many": {"shop_notify",
			`INSERT INTO notification (id, source, event_id, event_type, channel, recipient, subject, body, state)
				SELECT 'twice', source, 'twice', event_type, channel, recipient, subject, body, 'SENT' FROM notification WHERE event_type = 'member.registered' LIMIT 1`,
			`DELETE FROM notification WHERE id = 'twice'`, "each sign-up is one SMS and one e-mail, sent"},
		"a welcome for nobody": {"shop_notify",
			`INSERT INTO notification (id, source, event_id, event_type, channel, recipient, subject, body, state)
				VALUES ('nobody', '/member', 'nobody', 'member.registered', 'SMS', '+1', '', '', 'SENT')`,
			`DELETE FROM notification WHERE id = 'nobody'`, "nobody else is welcomed"},
		"never arrived": {"shop_notify",
			`UPDATE inbox SET id = REPLACE(id, '-', '+') ORDER BY no LIMIT 1`, `UPDATE inbox SET id = REPLACE(id, '+', '-')`,
			"each notification arrived once"},
		"an event never consumed": {"shop_notify",
			`UPDATE mq_inbox SET state = 'LOST' WHERE grp = 'notify-orders' ORDER BY id LIMIT 1`,
			`UPDATE mq_inbox SET state = 'DONE' WHERE state = 'LOST'`,
			"each order's event was sent and consumed by notify"},
		"the other way round": {"shop_notify",
			`UPDATE mq_inbox SET closed_at = closed_at - INTERVAL 1 HOUR WHERE grp = 'notify-orders' AND seq = 2 LIMIT 1`,
			`UPDATE mq_inbox SET closed_at = closed_at + INTERVAL 1 HOUR WHERE grp = 'notify-orders' AND closed_at < NOW() - INTERVAL 30 MINUTE`,
			"an order's events had their effects in order"},
		"a sign-up that nobody heard of": {"shop_member",
			`UPDATE mq_outbox SET state = 'GONE' ORDER BY id LIMIT 1`, `UPDATE mq_outbox SET state = 'SENT' WHERE state = 'GONE'`,
			"each sign-up is one event, each event a sign-up"},
		"points for an event that nobody took": {"shop_credit",
			`UPDATE mq_inbox SET state = 'LOST' WHERE grp = 'credit-registration' ORDER BY id LIMIT 1`,
			`UPDATE mq_inbox SET state = 'DONE' WHERE state = 'LOST'`,
			"each sign-up was consumed once by credit"},
		"a payment that nobody is told of": {"shop_notify",
			`UPDATE notification SET recipient = 'x' WHERE event_type = 'order.paid' LIMIT 1`,
			`UPDATE notification n JOIN contact c SET n.recipient = c.email WHERE n.recipient = 'x' AND c.member_id = '` + member + `'`,
			"each paid order is one e-mail"},
		"something left for later": {"shop_order",
			`UPDATE mq_inbox SET state = 'DEAD' WHERE grp = 'order-deliveries' LIMIT 1`,
			`UPDATE mq_inbox SET state = 'DONE' WHERE state = 'DEAD'`,
			"nothing is left in order's boxes"},
		"something left to be sent": {"shop_order",
			`INSERT INTO mq_outbox (event_id, topic, subject, event, state, next_at) VALUES ('left', 'order-events', 'x', '{}', 'HALF', NOW() + INTERVAL 1 DAY)`,
			`DELETE FROM mq_outbox WHERE event_id = 'left'`, "nothing is left in order's boxes"},
		"an order that did not follow": {"shop_order",
			`UPDATE orders SET status = 'PAID' WHERE id = '` + id + `'`, `UPDATE orders SET status = 'SHIPPED' WHERE id = '` + id + `'`,
			"orders follow their deliveries"},
		"an old price": {"shop_order",
			`UPDATE product SET price_cents = price_cents + 1 ORDER BY sku LIMIT 1`,
			`UPDATE product SET price_cents = price_cents - 1 ORDER BY sku LIMIT 1`,
			"order has every product as inventory has it"},
	} {
		database := open(t, shared.DSN(s.service))
		_, err := database.ExecContext(t.Context(), s.spoil)
		require.NoError(t, err, name)
		found := effectProblems(t, registration)
		_, err = database.ExecContext(t.Context(), s.mend)
		require.NoError(t, err, name)
		assert.Condition(t, func() bool {
			return slices.ContainsFunc(found, func(p string) bool { return strings.HasPrefix(p, s.found+": not with ") })
		},
			"%s is found: %v", name, found)
	}
	require.Empty(t, effectProblems(t, registration))
}

// inbox returns what the demo's inbox has for a number or an address.
func inbox(t testing.TB, to string) []json.RawMessage {
	t.Helper()
	var reply struct{ Messages []json.RawMessage }
	a := operator.must(t, 200, "GET", "/v1/ops/inbox?to="+strings.ReplaceAll(to, "+", "%2B"), nil)
	require.NoError(t, json.Unmarshal([]byte(a.raw), &reply))
	return reply.Messages
}

// tracedMessage is a message as the API shows it.
type tracedMessage struct {
	EventID      string `json:"event_id"`
	Type         string `json:"type"`
	Service      string `json:"service"`
	State        string `json:"state"`
	BornAt       string `json:"born_at"`
	HalfAt       string `json:"half_at"`
	Consumptions []struct{ Service, Group, State string }
}

func messages(t testing.TB, query string) []tracedMessage {
	t.Helper()
	var reply struct {
		Messages    []tracedMessage
		Unreachable []string
	}
	a := operator.must(t, 200, "GET", "/v1/ops/messages?"+query, nil)
	require.NoError(t, json.Unmarshal([]byte(a.raw), &reply))
	require.Empty(t, reply.Unreachable)
	return reply.Messages
}

// producerKilled kills member between the half message and its local transaction, and between the local transaction and the end message; the
// second time no process can be asked for longer than the broker waits before it asks.
func producerKilled(t *testing.T) {
	awaitMode(t, openQueues(t), redis.Normal, time.Minute) // there are half messages only then
	for _, c := range []struct {
		name, point string
		happened    bool
		away        time.Duration
	}{
		{"half", "mq/half", false, 0},
		{"local", "mq/local", true, 0},
		{"local and away", "mq/local", true, 8 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			tombstones := func() string {
				return one(t, db(t, "shop_member"), "SELECT COUNT(*) FROM mq_outbox WHERE state = 'VOID'")
			}
			before := tombstones()
			require.NoError(t, setFaultAt(t.Context(), "member", c.point, "crash"))
			pid, err := shared.PID(t.Context(), "member")
			require.NoError(t, err)
			n := someone()
			a, err := n.signUp(t.Context(), anonymous())
			require.NoError(t, err)
			require.Equal(t, 503, a.code, a.raw)
			require.Eventually(t, func() bool { now, err := shared.PID(t.Context(), "member"); return err != nil || now != pid },
				patience, 10*time.Millisecond, "it died")
			died := time.Now()
			if c.away > 0 {
				require.NoError(t, shared.Stop(t.Context(), "member"))
				time.Sleep(c.away) // how long member is away
				require.NoError(t, shared.Start(t.Context(), "member"))
			}
			require.NoError(t, shared.WaitHealthy(t.Context(), "member", "gateway"))
			assert.Equal(t, c.happened, one(t, db(t, "shop_member"), "SELECT id FROM member WHERE email = ?", n.Email) != "")
			if c.happened {
				require.Eventually(t, func() bool { return len(inbox(t, n.Email)) == 1 }, time.Until(died.Add(halfGrace-2*time.Second)),
					100*time.Millisecond,
					"the broker asks back before the relay sends")
				t.Logf("the mail came %.1f s after the crash", time.Since(died).Seconds())
			}
			if !c.happened {
				require.Eventually(t, func() bool { return tombstones() != before }, 60*time.Second, 100*time.Millisecond,
					"the broker asks, and is told that it will not happen")
			}
			requireEffects(t, registration)
			if !c.happened {
				assert.Empty(t, inbox(t, n.Email))
			}
		})
	}
}

// consumerKilled kills credit and notify between their effect and its commit, and between the commit and the acknowledgement.
func consumerKilled(t *testing.T) {
	for _, c := range []struct{ process, group string }{{"credit", "credit-registration"}, {"notify", "notify-email"}} {
		for _, point := range []string{"effect", "committed"} {
			t.Run(c.group+" "+point, func(t *testing.T) {
				pid, err := shared.PID(t.Context(), c.process)
				require.NoError(t, err)
				require.NoError(t, setFaultAt(t.Context(), c.process, "consume/"+c.group+"/"+point, "crash"))
				n := someone()
				a, err := n.signUp(t.Context(), anonymous())
				require.NoError(t, err)
				require.Equal(t, 201, a.code, a.raw)
				require.Eventually(t, func() bool { now, err := shared.PID(t.Context(), c.process); return err == nil && now != pid },
					60*time.Second, 10*time.Millisecond, "it died and is back")
				require.NoError(t, shared.WaitHealthy(t.Context(), c.process))
			})
		}
	}
	requireEffects(t, registration)
}

// brokerKilled lets newcomers sign up and pay orders, at least 1,000 of each, of which some are refused, canceled, shipped and refunded, until
// the broker was killed three times, and the name server and every service that sends or receives once.
func brokerKilled(t *testing.T) {
	const atLeast = 1000
	sku := product(t, 500, 100000)
	var (
		wg                    sync.WaitGroup
		mu                    sync.Mutex
		told                  []newcomer // who were told that they are members
		signed, paid, refused atomic.Int64
		killed                atomic.Bool // all
	)
	until := func(done *atomic.Int64, call func() bool) {
		for done.Load() < atLeast || !killed.Load() {
			if call() {
				done.Add(1)
			} else {
				time.Sleep(20 * time.Millisecond) // the shop is away: do not spin
			}
		}
	}
	for range 3 {
		wg.Go(func() {
			c := anonymous()
			until(&signed, func() bool {
				n := someone()
				if a, err := n.signUp(context.Background(), c); err != nil || a.code != 201 {
					return false
				}
				mu.Lock()
				told = append(told, n)
				mu.Unlock()
				if mrand.N(10) == 0 { // a second sign-up: nothing happens
					if a, err := n.signUp(context.Background(), c); err == nil && a.code == 201 {
						refused.Add(1)
					}
				}
				return true
			})
		})
	}
	for range 4 {
		c := shopper(t)
		wg.Go(func() { until(&paid, func() bool { return buySomething(c, sku) }) })
	}
	t.Cleanup(func() { killed.Store(true); signed.Add(atLeast); paid.Add(atLeast); wg.Wait() })
	began := time.Now()
	more := func(n int64, why string) {
		s, p := signed.Load(), paid.Load()
		require.Eventually(t, func() bool { return signed.Load() >= s+n && paid.Load() >= p+n }, 60*time.Second, 10*time.Millisecond, why)
	}
	victims := []string{"broker", "member", "namesrv", "credit", "inventory", "broker", "notify", "order", "wms", "gateway", "mariadb", "broker"}
	for _, victim := range victims {
		more(20, "they go on before "+victim+" is killed")
		require.NoError(t, shared.Kill(t.Context(), victim))
		if victim == "broker" { // it is away for a while, and no call waits for it
			require.NoError(t, shared.Stop(t.Context(), victim))
			more(20, "without a broker all goes on")
			require.NoError(t, shared.Start(t.Context(), victim))
		}
		require.NoError(t, shared.WaitHealthy(t.Context(), victim))
	}
	killed.Store(true)
	wg.Wait()
	stream := time.Since(began)
	requireSettles(t, target)
	requireEffects(t, registration)
	t.Logf("%d signed up, %d refused, %d paid while %d processes were killed, in %.0f s; all effects there %.0f s later",
		signed.Load(), refused.Load(), paid.Load(), len(victims), stream.Seconds(), (time.Since(began) - stream).Seconds())
	for _, n := range told {
		require.NotEmpty(t, one(t, db(t, "shop_member"), "SELECT id FROM member WHERE email = ?", n.Email),
			"%s was told to be a member", n.Email)
	}
	assert.Positive(t, refused.Load())
	for _, status := range []string{"CANCELED", "SHIPPED", "COMPLETED", "REFUNDED"} {
		assert.NotEqual(t, "0", one(t, db(t, "shop_order"), "SELECT COUNT(*) FROM orders WHERE status = ?", status), status)
	}
}

// buySomething creates an order and pays it; now and then it cancels it instead, or ships or refunds it afterwards. It reports whether the order
// was paid.
func buySomething(c *client, sku string) bool {
	ctx := context.Background()
	a, err := c.try(ctx, "POST", "/v1/orders", map[string]any{"lines": []any{map[string]any{"sku": sku, "quantity": 1}}})
	if err != nil || a.code != 201 {
		return false
	}
	id, chance := a.Body.ID, mrand.N(20)
	if chance == 0 {
		_, _ = c.try(ctx, "POST", "/v1/orders/"+id+"/cancel", nil)
		return false
	}
	if a, err = c.try(ctx, "POST", "/v1/orders/"+id+"/pay", nil); err != nil || a.code != 200 {
		return false
	}
	switch chance {
	case 1:
		_, _ = c.try(ctx, "POST", "/v1/orders/"+id+"/refund", nil)
	case 2, 3:
		if a, err = operator.try(ctx, "GET", "/v1/ops/deliveries?order_id="+id, nil); err == nil && len(a.Body.Deliveries) == 1 {
			for _, work := range []string{"pick", "ship", "deliver"}[:chance] {
				_, _ = operator.try(ctx, "POST", "/v1/ops/deliveries/"+a.Body.Deliveries[0].ID+"/"+work, nil)
			}
		}
	}
	return true
}

// bus connects this process with the shop's broker.
func bus(t testing.TB) *rocketmq.Broker {
	t.Helper()
	b, err := rocketmq.Dial("e2e", rocketmq.Config{NameServers: shared.NameServers()})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

// publish publishes an event as a service of the shop does, signed.
func publish(t testing.TB, service, topic string, e mq.Event) {
	t.Helper()
	keys, err := mac.Parse(shared.EventKeys())
	require.NoError(t, err)
	require.NoError(t, mq.NewBus(service, bus(t), mq.Config{Keys: keys}).Publish(t.Context(), topic, e))
}

// everythingAgain sends every event that the topics hold twice more, in any order, and nothing may change.
func everythingAgain(t *testing.T) {
	b := bus(t)
	state := func() string { return one(t, db(t, "shop_order"), footprintOfAll) }
	duplicates := func() (n float64) {
		for _, process := range []string{"credit", "notify", "order"} {
			n += measured(t, target.Admin[process]+"/metrics", `mq_consume_duration_seconds_count{outcome="duplicate"}`)
		}
		return n
	}
	before, known := state(), duplicates()
	deliveries := 0
	for topic, groups := range map[string]int{eventv1.TopicMembers: 3, eventv1.TopicOrders: 1, eventv1.TopicProducts: 1,
		eventv1.TopicDeliveries: 1, alertv1.Topic: 1} {
		all, err := mqtest.Events(t.Context(), b, topic, time.Now().Add(-time.Hour))
		require.NoError(t, err)
		all = slices.DeleteFunc(all, func(e mq.Event) bool { return e.Signature == "" }) // of the test before
		require.NotEmpty(t, all, topic)
		all = append(all, all...)
		mrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, e := range all {
			require.NoError(t, b.Send(t.Context(), topic, e, time.Time{}))
		}
		deliveries += groups * len(all)
	}
	require.Eventually(t, func() bool { return duplicates() >= known+float64(deliveries) }, 120*time.Second, 100*time.Millisecond,
		"all %d deliveries are known as duplicates", deliveries)
	assert.Equal(t, before, state())
	requireEffects(t, registration)
}

// footprintOfAll selects a checksum of everything that events have effects on.
const footprintOfAll = `SELECT CONCAT_WS(' ',
	(SELECT BIT_XOR(CRC32(CONCAT_WS('|', source, member_id, points, status, updated_at))) FROM shop_credit.credit_entry),
	(SELECT BIT_XOR(CRC32(CONCAT_WS('|', member_id, credit, prepare_add_credit))) FROM shop_credit.credit_account),
	(SELECT BIT_XOR(CRC32(CONCAT_WS('|', id, event_id, channel, recipient, state))) FROM shop_notify.notification),
	(SELECT COUNT(*) FROM shop_notify.inbox),
	(SELECT BIT_XOR(CRC32(CONCAT_WS('|', id, status, event_seq))) FROM shop_order.orders),
	(SELECT BIT_XOR(CRC32(CONCAT_WS('|', sku, name, price_cents, version))) FROM shop_order.product))`

// poison sends messages that cannot work before good ones. The good ones come through; the others are dead letters with what happened, operators
// are told, and they can be redriven when the cause is gone.
func poison(t *testing.T) {
	b := bus(t)
	forged := mq.Event{ID: mq.NewID(), Source: "/member", Type: eventv1.TypeMemberRegistered, Subject: "nobody", Time: time.Now(),
		Data: []byte(`{"member_id":"nobody","name":"Nobody","email":"nobody@example.com","phone":"+8613800000000"}`)}
	require.NoError(t, b.Send(t.Context(), eventv1.TopicMembers, forged, time.Time{}))
	var dead []deadLetter
	require.Eventually(t, func() bool {
		dead = deadLetters(t, "")
		return len(dead) == 3
	}, patience, 50*time.Millisecond, "each of three groups refuses what no service signed: %v", &dead)
	for _, d := range dead {
		assert.Contains(t, d.Reason, "not signed")
		operator.must(t, 409, "POST", "/v1/ops/dead-letters/"+d.ID+"/redrive", nil)
		operator.must(t, 200, "POST", "/v1/ops/dead-letters/"+d.ID+"/discard", nil)
	}

	bad := mq.Event{ID: mq.NewID(), Source: "/member", Type: eventv1.TypeMemberRegistered, Subject: "nobody", Time: time.Now(),
		Data: []byte(`{"member_id":7}`)}
	publish(t, "member", eventv1.TopicMembers, bad)
	good := someone()
	a, err := good.signUp(t.Context(), anonymous())
	require.NoError(t, err)
	require.Equal(t, 201, a.code)
	require.Eventually(t, func() bool { return len(inbox(t, good.Email)) == 1 }, patience, 10*time.Millisecond, "good ones pass")
	require.Eventually(t, func() bool {
		dead = deadLetters(t, "")
		return len(dead) == 3
	}, patience, 50*time.Millisecond, "each of three groups gives up: %v", &dead)
	for _, d := range dead {
		assert.Equal(t, bad.ID, d.EventID)
		assert.NotEmpty(t, d.Reason)
		require.Eventually(t, func() bool { return mailTo(t, "operator@example.com", "dead-letters/"+d.Group) }, 30*time.Second,
			100*time.Millisecond,
			"operators are told of %s", d.Group)
		operator.must(t, 200, "POST", "/v1/ops/dead-letters/"+d.ID+"/discard", nil)
	}
	require.Empty(t, deadLetters(t, ""))

	// Failures whose cause went away.
	require.NoError(t, setFaultAt(t.Context(), "credit", "consume/credit-registration/effect", "error"))
	for range 3 {
		a, err := someone().signUp(t.Context(), anonymous())
		require.NoError(t, err)
		require.Equal(t, 201, a.code)
	}
	require.Eventually(t, func() bool { return len(deadLetters(t, "credit-registration")) == 3 }, patience, 50*time.Millisecond)
	letter := operator.must(t, 200, "GET", "/v1/ops/dead-letters/"+deadLetters(t, "credit-registration")[0].ID, nil)
	assert.Contains(t, letter.raw, "try 3")
	assert.Contains(t, letter.raw, "injected fault")
	require.NoError(t, setFaultAt(t.Context(), "credit", "consume/credit-registration/effect", ""))
	operator.must(t, 200, "POST", "/v1/ops/dead-letters/"+deadLetters(t, "credit-registration")[0].ID+"/redrive", nil)
	require.Eventually(t, func() bool { return len(deadLetters(t, "credit-registration")) == 2 }, patience, 50*time.Millisecond, "one")
	operator.must(t, 200, "POST", "/v1/ops/dead-letters/redrive", map[string]any{"group": "credit-registration"})
	requireEffects(t, registration)
}

type deadLetter struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	EventID string `json:"event_id"`
	Reason  string `json:"reason"`
}

func deadLetters(t testing.TB, group string) []deadLetter {
	t.Helper()
	var reply struct {
		DeadLetters []deadLetter `json:"dead_letters"`
		Unreachable []string
	}
	a := operator.must(t, 200, "GET", "/v1/ops/dead-letters?group="+group, nil)
	require.NoError(t, json.Unmarshal([]byte(a.raw), &reply))
	require.Empty(t, reply.Unreachable)
	return reply.DeadLetters
}

// mailTo reports whether an address has a message that contains what.
func mailTo(t testing.TB, to, what string) bool {
	t.Helper()
	return slices.ContainsFunc(inbox(t, to), func(m json.RawMessage) bool { return strings.Contains(string(m), what) })
}

// ordersWithoutInventory: order takes prices from its own copy, so an order can be created while inventory is stopped.
func ordersWithoutInventory(t *testing.T) {
	sku := product(t, 700, 10)
	require.Eventually(t, func() bool {
		return one(t, db(t, "shop_order"), "SELECT price_cents FROM product WHERE sku = ?", sku) == "700"
	}, patience, 10*time.Millisecond)
	c := shopper(t)
	require.NoError(t, shared.Stop(t.Context(), "inventory"))
	t.Cleanup(func() {
		assert.NoError(t, shared.Start(context.Background(), "inventory"))
		assert.NoError(t, shared.WaitHealthy(context.Background(), "inventory", "gateway"))
	})
	id := c.order(t, sku, 2)
	a, err := c.try(t.Context(), "POST", "/v1/orders", map[string]any{"lines": []any{map[string]any{"sku": "e2e-never-seen", "quantity": 1}}})
	require.NoError(t, err)
	assert.Equal(t, 503, a.code, a.raw)
	require.NoError(t, shared.Start(t.Context(), "inventory"))
	require.NoError(t, shared.WaitHealthy(t.Context(), "inventory", "gateway"))
	require.Equal(t, 200, c.pay(t, id).code)
}

// signUpLatency: a sign-up that three groups follow is answered as fast as one that no group follows. Each is compared with the next one, so
// that whatever else the machine does affects both, and what a stopped group has missed is made up for before. The quickest quarter is compared:
// with few processors, a group that works on another's turn delays some sign-ups, but one that a sign-up waits for delays all.
func signUpLatency(t *testing.T) {
	followers := func(sig syscall.Signal) {
		for _, name := range []string{"credit", "notify"} {
			pid, err := shared.PID(context.Background(), name)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, sig))
		}
	}
	t.Cleanup(func() { followers(syscall.SIGCONT) })
	var last newcomer
	takes := func(followed bool) time.Duration {
		followers(syscall.SIGCONT)
		if last.Email != "" {
			require.Eventually(t, func() bool { return len(inbox(t, last.Email)) == 1 }, patience, 5*time.Millisecond)
		}
		if !followed {
			followers(syscall.SIGSTOP)
		}
		n, c := someone(), anonymous()
		last = n
		began := time.Now()
		a, err := n.signUp(t.Context(), c)
		took := time.Since(began)
		require.NoError(t, err)
		require.Equal(t, 201, a.code)
		return took
	}
	took := map[bool][]float64{} // milliseconds
	for n := range 60 {
		for _, followed := range []bool{n%2 == 0, n%2 != 0} {
			took[followed] = append(took[followed], float64(takes(followed).Microseconds())/1000)
		}
	}
	followers(syscall.SIGCONT)
	quick := func(of []float64) float64 { slices.Sort(of); return of[len(of)/4] }
	with, without := quick(took[true]), quick(took[false])
	t.Logf("a sign-up takes %.1f ms with three followers, %.1f without (lower quartiles of %d each)", with, without, len(took[true]))
	assert.LessOrEqual(t, with, 1.3*without)
	requireEffects(t, registration)
}
