package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/deploy/local/stack"
)

// storeDeleted: while those who follow are down, the broker's store is deleted, with messages in it that their publishers count as sent. What
// was lost has its effect, once, by itself; operators are told. Before that, while nothing is lost, nothing is sent again.
//
// Events do not go by Redis meanwhile: after an outage publishers send again what was sent in it, so little would be found to be lost.
func storeDeleted(t *testing.T) {
	force(t, redis.Pinned)
	defer force(t, redis.Automatic)
	c, sku := shopper(t), product(t, 500, 100)
	early, late := paid(t, c, sku), paid(t, c, sku)
	for key, a := range audited(t) {
		require.Zero(t, a.Resent, "%s: nothing was lost", key)
	}

	require.NoError(t, shared.Stop(t.Context(), "credit"))
	require.NoError(t, shared.Stop(t.Context(), "notify"))
	for range 3 {
		a, err := someone().signUp(t.Context(), anonymous())
		require.NoError(t, err)
		require.Equal(t, 201, a.code, a.raw)
	}
	ship(t, early)
	c.settled(t, early, "SHIPPED")
	allSent(t, "order")
	require.NoError(t, shared.Stop(t.Context(), "order"))
	ship(t, late)
	operator.must(t, 200, "PUT", "/v1/ops/products/"+sku, map[string]any{"price_cents": 600})
	allSent(t, "member", "inventory", "wms")

	require.NoError(t, shared.Kill(t.Context(), "broker"))
	require.NoError(t, shared.Stop(t.Context(), "broker"))
	require.NoError(t, os.RemoveAll(filepath.Join(shared.Dir(), "rocketmq", "store")))
	_, err := stack.Up(t.Context(), stack.Options{Dir: shared.Dir(), SkipBuild: true}) // starts what is stopped, and makes the topics
	require.NoError(t, err)

	requireEffects(t, registration)
	c.settled(t, late, "SHIPPED")
	after := audited(t)
	resent := map[string]int64{} // by publisher: what one group has sent again comes to the others of the topic too
	for key, a := range after {
		resent[a.Publisher] += a.Resent
		if a.Resent > 0 {
			assert.Greater(t, a.CompleteAt, a.ResentAt, key)
			alert := fmt.Sprintf("messages-lost/%s/%s", a.Group, a.Publisher)
			assert.Contains(t, alerted(t, a.Service, alert), "are being sent again by\nthemselves")
			over(t, a.Service, alert)
		}
	}
	for publisher, lost := range map[string]int64{"member": 3, "order": 1, "wms": 1, "inventory": 1} {
		assert.GreaterOrEqual(t, resent[publisher], lost, "%s: %v", publisher, after)
	}
	for key, a := range audited(t) {
		if a.Group != "notify-alerts" { // the alerts of the loss came meanwhile
			assert.Equal(t, after[key].Resent, a.Resent, "%s: it was sent again once", key)
		}
	}
}

// ship lets the warehouse pick and ship the order.
func ship(t *testing.T, id string) {
	t.Helper()
	slip := delivery(t, id)
	for _, work := range []string{"pick", "ship"} {
		operator.must(t, 200, "POST", "/v1/ops/deliveries/"+slip+"/"+work, nil)
	}
}

// allSent waits until the broker has all that the services have to say. A transactional message counts as sent when the broker would have asked
// back, in half of halfGrace.
func allSent(t *testing.T, services ...string) {
	t.Helper()
	for _, service := range services {
		require.Eventually(t, func() bool {
			return one(t, db(t, "shop_"+service), "SELECT COUNT(*) FROM mq_outbox WHERE state IN ('READY', 'HALF')") == "0"
		}, halfGrace, 50*time.Millisecond, "%s has sent everything", service)
	}
}

// audit is what a group knows about the events of a publisher.
type audit struct {
	Service, Group, Publisher string
	Events, Resent            int64
	CompleteAt                time.Time `json:"complete_at"`
	ResentAt                  time.Time `json:"resent_at"`
}

// audited waits until every group has compared, after now, what it has with what each publisher of the shop has sent, and found all of it; and
// returns the audits by group and publisher.
func audited(t *testing.T) map[string]audit {
	t.Helper()
	from, err := time.Parse(time.DateTime, one(t, db(t, "shop_order"), "SELECT DATE_FORMAT(UTC_TIMESTAMP(3), '%Y-%m-%d %H:%i:%s.%f')"))
	require.NoError(t, err)
	// order: 2 groups but for its timers, of inventory, wms and itself; credit: 1, of member and itself; notify: 4, of all six.
	const pairs = 2*3 + 1*2 + 4*6
	var all map[string]audit
	require.Eventually(t, func() bool {
		all = map[string]audit{}
		var reply struct{ Audits []audit }
		require.NoError(t, json.Unmarshal([]byte(operator.must(t, 200, "GET", "/v1/ops/audits", nil).raw), &reply))
		for _, a := range reply.Audits {
			if a.CompleteAt.After(from) {
				all[a.Group+" of "+a.Publisher] = a
			}
		}
		return len(all) == pairs
	}, 60*time.Second, 100*time.Millisecond, "%d audits: %v", pairs, &all)
	return all
}

// pauseAudits lets nobody compare any more, so that what is lost from now on stays lost, and what a test takes away stays away.
func pauseAudits(t *testing.T) {
	t.Helper()
	for _, service := range services {
		_, err := open(t, shared.DSN("shop_"+service)).ExecContext(t.Context(), "UPDATE mq_audit SET next_at = NOW(3) + INTERVAL 1 DAY")
		require.NoError(t, err)
	}
}
