package e2e_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
)

// messages: what is sent and offered again has no second effect, and what could not be sent is listed.
func (b *book) messages(t *testing.T) {
	const at = "1m"
	b.works(t, "messages-lost", "make resend SERVICE=<service> SINCE=<time>", "service", "member", "time", at)
	said := b.works(t, "messages-lost", "make replay TOPIC=<topic> GROUP=<group> FROM=<time>", "topic", eventv1.TopicMembers,
		"group", "notify-email", "time", at)
	assert.Contains(t, said, ": 0 had their effect now, 0 wait")
	assert.Contains(t, b.works(t, "messages-lost", "make audits"), "What groups have of what was sent") // TestMessages/store_deleted reads them
	assert.Contains(t, b.works(t, "messages-lost", "GET /v1/ops/audits"), `"audits"`)
	b.works(t, "email-failing", "GET /v1/ops/notifications?state=FAILED")
	b.works(t, "email-failing", "GET /v1/ops/notifications?state=PENDING")
}

// refused: events that are longer than the broker takes hold up what comes after them, until they are discarded.
func (b *book) refused(t *testing.T) {
	const service = "inventory"
	inventory := open(t, shared.DSN("shop_"+service))
	state := func(e mq.Event) string {
		return one(t, inventory, "SELECT CONCAT_WS(' ', state, IF(refused_at IS NULL, NULL, 'refused')) FROM mq_outbox WHERE event_id = ?", e.ID)
	}
	// tells appends an event of a type that nobody consumes.
	tells := func(subject, what string) mq.Event {
		t.Helper()
		e := mq.Event{ID: mq.NewID(), Source: "/" + service, Type: "test.noted", Subject: subject, Time: time.Now(), Data: []byte(fmt.Sprintf("%q", what))}
		text, err := json.Marshal(e)
		require.NoError(t, err)
		_, err = inventory.ExecContext(t.Context(), "INSERT INTO mq_outbox (event_id, topic, subject, type, event, state) VALUES (?, ?, ?, ?, ?, 'READY')",
			e.ID, eventv1.TopicProducts, e.Subject, e.Type, text)
		require.NoError(t, err)
		return e
	}
	type waiting struct{ long, next mq.Event }
	var all []waiting
	for range 2 {
		subject := mq.NewID()
		w := waiting{tells(subject, strings.Repeat("long ", 1<<18)), tells(subject, "short")}
		require.Eventually(t, func() bool { return state(w.long) == "READY refused" }, patience, 50*time.Millisecond, "it is too long")
		assert.Equal(t, "READY", state(w.next), "it waits for the one before it")
		all = append(all, w)
	}
	id := func(e mq.Event) string {
		return service + "-" + one(t, inventory, "SELECT id FROM mq_outbox WHERE event_id = ?", e.ID)
	}
	assert.Contains(t, alerted(t, service, "outbox-refused"), "/v1/ops/refused/"+id(all[0].long)+"/discard")
	for n, discard := range []string{"make refused DISCARD=<event>", "POST /v1/ops/refused/<event>/discard"} {
		for _, list := range []string{"make refused", "GET /v1/ops/refused"} {
			said := b.works(t, "outbox-refused", list)
			for i, w := range all {
				assert.Equal(t, i >= n, strings.Contains(said, id(w.long)) && strings.Contains(said, w.long.ID), said)
				assert.NotContains(t, said, w.next.ID)
			}
		}
		b.works(t, "outbox-refused", discard, "event", id(all[n].long))
		require.Eventually(t, func() bool { return state(all[n].next) == "SENT" }, patience, 50*time.Millisecond, "it is sent now")
		assert.Equal(t, "DROPPED refused", state(all[n].long))
	}
	over(t, service, "outbox-refused")
}

// mode: an operator keeps events away from the broker, by either command, is told of it and of its end; without Redis the commands say so.
func (b *book) mode(t *testing.T) {
	const section, show = "mq-mode", "GET /v1/ops/mq"
	normal := func() bool {
		a, err := operator.try(t.Context(), "GET", "/v1/ops/mq", nil)
		return err == nil && a.code == 200 && strings.Contains(a.raw, `"mode":"NORMAL"`) && strings.Contains(a.raw, `"redis_answered":true`)
	}
	const ended = "SELECT COUNT(*) FROM notification WHERE subject LIKE '[Fourfold] notify mq-mode%over'"
	endings := func() int {
		n, err := strconv.Atoi(one(t, db(t, "shop_notify"), ended))
		require.NoError(t, err)
		return n
	}
	require.Eventually(t, normal, 100*time.Second, 100*time.Millisecond)
	for n, lines := range [][2]string{{"make mq MODE=DEGRADED WHY=<reason>", "make mq MODE=AUTOMATIC WHY=<reason>"},
		{`POST /v1/ops/mq {"mode": "DEGRADED", "reason": "<reason>"}`, `POST /v1/ops/mq {"mode": "AUTOMATIC", "reason": "<reason>"}`}} {
		before := endings() // other tests have taken the broker away
		b.works(t, section, lines[0], "reason", fmt.Sprint("moves-", n))
		assert.Contains(t, b.works(t, section, "make mq"), fmt.Sprint("moves-", n))
		assert.Contains(t, b.works(t, section, show), `"mode":"DEGRADED"`)
		alerted(t, "notify", section)
		require.Eventually(t, func() bool {
			const told = "SELECT COUNT(*) FROM notification WHERE subject = '[Fourfold] notify mq-mode' AND body LIKE CONCAT('%', ?, '%')"
			return one(t, db(t, "shop_notify"), told, fmt.Sprint("moves-", n)) == "1"
		}, 60*time.Second, 100*time.Millisecond, "it is told, once")
		b.works(t, section, lines[1], "reason", "it-works")
		require.Eventually(t, normal, 100*time.Second, 100*time.Millisecond)
		over(t, "notify", section)
		require.Eventually(t, func() bool { return endings() == before+1 }, 60*time.Second, 100*time.Millisecond, "its end is told, once")
	}
	b.works(t, "mq-canary", "make mq")
	b.works(t, "mq-canary", show)
	require.NoError(t, shared.Stop(t.Context(), "queues"))
	assert.Contains(t, b.works(t, "mq-queues-redis", "make mq"), "REDIS DOES NOT ANSWER")
	assert.Contains(t, b.works(t, "mq-queues-redis", show), `"redis_answered":false`)
	require.NoError(t, shared.Start(t.Context(), "queues"))
	require.NoError(t, shared.WaitHealthy(t.Context()))
	require.Eventually(t, normal, 60*time.Second, 100*time.Millisecond)
}

// position: a position that somebody has moved too far makes its group drop what comes. Moved back, the group has it when it is sent again,
// once.
func (b *book) position(t *testing.T) {
	const section, group, source = "a-position-is-wrong", "notify-orders", "/order"
	c, sku := shopper(t), product(t, 500, 100)
	notify := open(t, shared.DSN("shop_notify"))
	had := func(id string) string {
		return one(t, notify, "SELECT GROUP_CONCAT(seq, ' ', state ORDER BY seq) FROM mq_inbox WHERE grp = ? AND subject = ?", group, id)
	}
	for _, move := range []string{"make position SUBJECT=<subject> GROUP=<group> SOURCE=<source> TO=<number>",
		`POST /v1/ops/positions {"group": "<group>", "source": "<source>", "subject": "<subject>", "sequence": <number>}`} {
		id := paid(t, c, sku)
		require.Eventually(t, func() bool { return had(id) == "1 DONE,2 DONE" }, patience, 50*time.Millisecond)
		_, err := notify.ExecContext(t.Context(), "UPDATE mq_position SET seq = 9 WHERE grp = ? AND subject = ?", group, id)
		require.NoError(t, err)
		ship(t, id)
		require.Eventually(t, func() bool { return had(id) == "1 DONE,2 DONE,3 OLD" }, patience, 50*time.Millisecond, "it is dropped")
		fills := []string{"subject", id, "group", group, "source", source, "number", "2", "service", "order", "time", "1m"}
		assert.Contains(t, b.works(t, section, "GET /v1/ops/messages?subject=<subject>", fills...), `"OLD"`)
		for _, show := range []string{"make position SUBJECT=<subject>", "make position SUBJECT=<subject> GROUP=<group>",
			"GET /v1/ops/positions?subject=<subject>"} {
			assert.Regexp(t, group+` of /order: number 9 |"sequence":\s*9\b`, b.works(t, section, show, fills...))
		}
		assert.Regexp(t, `1 event\(s\) that were dropped as old are forgotten|"forgotten":\s*1\b`, b.works(t, section, move, fills...))
		b.works(t, section, "make resend SERVICE=<service> SINCE=<time>", fills...)
		require.Eventually(t, func() bool { return had(id) == "1 DONE,2 DONE,3 DONE" }, patience, 50*time.Millisecond)
	}
}

// restored: a service begins a new generation, and is followed in it (TestMessages/restored puts older rows back).
func (b *book) restored(t *testing.T) {
	const section, service = "a-database-was-restored-from-a-backup", "inventory"
	sku := product(t, 500, 10)
	leave(t, shared.DSN("shop_"+service))
	before := b.works(t, section, "make generation SERVICE=<service>", "service", service)
	b.works(t, section, "make generation SERVICE=<service> NEW=1", "service", service)
	after := b.works(t, section, "make generation SERVICE=<service>", "service", service)
	assert.NotEqual(t, before, after)
	said, ok := b.run(t, section, "make generation SERVICE=<service> NEW=1", "service", "member")
	assert.False(t, ok, said)
	assert.Contains(t, said, "member does not number its events")
	require.NoError(t, shared.WaitHealthy(t.Context(), service, "gateway"))
	operator.must(t, 200, "PUT", "/v1/ops/products/"+sku, map[string]any{"price_cents": 600})
	require.Eventually(t, func() bool {
		copied := one(t, db(t, "shop_order"), "SELECT CONCAT_WS(' ', price_cents, version, generation) FROM product WHERE sku = ?", sku)
		at, in, _ := strings.Cut(copied, " 1 ")
		return at == "600" && in != "" && strings.Contains(after, in)
	}, patience, 50*time.Millisecond, "order follows")
	b.works(t, section, "make audits")
	b.works(t, section, "make conserve")
}
