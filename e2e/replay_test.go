package e2e_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
)

// replayAndResend: events that had their effect have no second one, whichever way they come again; what a service lost, as by a restored backup,
// it gets back, once. The replay goes through the API, the resend through the command.
func replayAndResend(t *testing.T) {
	from := time.Now().Add(-time.Hour).UTC()
	state := func() string { return one(t, db(t, "shop_order"), footprintOfAll) }
	before := state()
	for topic, groups := range map[string][]string{
		eventv1.TopicMembers: {"notify-email", "notify-sms", "credit-registration"}, eventv1.TopicOrders: {"notify-orders"},
		eventv1.TopicDeliveries: {"order-deliveries"}, eventv1.TopicProducts: {"order-products"},
	} {
		for _, group := range groups {
			r := replayed(t, topic, group, from)
			assert.Zero(t, r.Effects+r.Waiting, "%s: %+v", group, r)
			if topic == eventv1.TopicMembers {
				assert.Positive(t, r.Known, group)
				assert.EqualValues(t, 1, r.Dropped, "%s: what no service signed", group)
			} else {
				assert.Zero(t, r.Dropped, group)
			}
		}
	}
	assert.Equal(t, before, state())

	notify := open(t, shared.DSN("shop_notify"))
	event := one(t, notify, "SELECT event_id FROM mq_inbox WHERE grp = 'notify-email' AND state = 'DONE' ORDER BY id DESC LIMIT 1") // the broker has lost the first ones
	for _, stmt := range []string{
		"DELETE i FROM inbox i JOIN notification n ON n.id = i.id WHERE n.channel = 'EMAIL' AND n.event_id = ?",
		"DELETE FROM notification WHERE channel = 'EMAIL' AND event_id = ?",
		"DELETE FROM mq_inbox WHERE grp = 'notify-email' AND event_id = ?",
	} {
		res, err := notify.ExecContext(t.Context(), stmt, event)
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, n, stmt)
	}
	require.NotEmpty(t, effectProblems(t, registration), "the loss is seen")
	r := replayed(t, eventv1.TopicMembers, "notify-email", from)
	assert.EqualValues(t, 1, r.Effects, "%+v", r)
	requireEffects(t, registration)

	duplicates := func() float64 {
		return measured(t, target.Admin["notify"]+"/metrics", `mq_consume_duration_seconds_count{outcome="duplicate"}`)
	}
	before, known := state(), duplicates()
	events, err := strconv.ParseFloat(one(t, db(t, "shop_order"),
		"SELECT COUNT(*) FROM mq_outbox WHERE topic = 'order-events' AND state = 'SENT'"), 64)
	require.NoError(t, err)
	said, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", "../bin/", "./cmd/ops").CombinedOutput()
	require.NoError(t, err, string(said))
	said, err = exec.CommandContext(t.Context(), "../bin/ops", "resend", "-demo", filepath.Join(shared.Dir(), "demo.json"), "-service=order",
		"-since=1h").CombinedOutput()
	require.NoError(t, err, string(said))
	assert.Regexp(t, `(?s)order: \d+ are being sent again\n  Done\.\n  If the broker came back empty: `, string(said))
	require.Eventually(t, func() bool { return duplicates() >= known+events }, 120*time.Second, 100*time.Millisecond,
		"notify-orders has all %v again", events)
	requireEffects(t, registration)
	assert.Equal(t, before, state())

	refused := operator.must(t, 400, "POST", "/v1/ops/replay",
		map[string]any{"topic": eventv1.TopicMembers, "group": "notify-email", "from": "2020-01-01T00:00:00Z"})
	assert.Contains(t, refused.Body.Message, "from: at the earliest ")
	refused = operator.must(t, 404, "POST", "/v1/ops/replay", map[string]any{"topic": eventv1.TopicMembers, "group": "nobody", "from": from})
	assert.Contains(t, refused.Body.Message,
		"credit-registration, notify-alerts, notify-email, notify-orders, notify-sms, order-deliveries, order-products, order-timers")
}

// replay says what became of the messages that were offered.
type replay struct {
	Service                                   string
	Offered, Effects, Waiting, Known, Dropped int64
}

// replayed offers to group all that topic took since from, call after call, and returns the sum.
func replayed(t *testing.T, topic, group string, from time.Time) (sum replay) {
	t.Helper()
	body := map[string]any{"topic": topic, "group": group, "from": from}
	for {
		var part struct {
			replay
			To       time.Time
			Position string
		}
		a := operator.must(t, 200, "POST", "/v1/ops/replay", body)
		require.NoError(t, json.Unmarshal([]byte(a.raw), &part))
		sum.Service = part.Service
		sum.Offered += part.Offered
		sum.Effects += part.Effects
		sum.Waiting += part.Waiting
		sum.Known += part.Known
		sum.Dropped += part.Dropped
		if part.Position == "" {
			return sum
		}
		body["to"], body["position"] = part.To, part.Position
	}
}
