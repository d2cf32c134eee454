package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type check struct{ name, query string }

// effects are the checks that every committed fact had exactly one effect in each group that follows it, that nothing else had one, that the
// order within a subject never regressed, and that nothing is left in outboxes, inboxes or queues. Each selects the rows that are wrong.
//
// Seeded members did not sign up: there are no events about them.
var effects = []check{
	{"each sign-up is one event, each event a sign-up", `SELECT m.id AS row_id FROM shop_member.member m
			LEFT JOIN shop_member.mq_outbox x ON x.subject = m.id AND x.type = 'member.registered' AND x.state = 'SENT'
			WHERE ` + signedUp + ` GROUP BY m.id HAVING COUNT(x.id) <> 1
		UNION ALL SELECT x.event_id FROM shop_member.mq_outbox x LEFT JOIN shop_member.member m ON m.id = x.subject
			WHERE x.type = 'member.registered' AND x.state = 'SENT' AND m.id IS NULL`},
	{"each sign-up was consumed once by credit", `SELECT x.event_id AS row_id FROM shop_member.mq_outbox x
			LEFT JOIN shop_credit.mq_inbox i ON i.grp = 'credit-registration' AND i.event_id = x.event_id AND i.state = 'DONE'
			WHERE x.type = 'member.registered' AND x.state = 'SENT' AND i.id IS NULL`},
	{"each sign-up is one SMS and one e-mail, sent", `SELECT m.id AS row_id FROM shop_member.member m
			LEFT JOIN shop_notify.notification n ON n.event_type = 'member.registered' AND n.state = 'SENT'
				AND (n.channel = 'SMS' AND n.recipient = m.phone OR n.channel = 'EMAIL' AND n.recipient = m.email)
			WHERE ` + signedUp + ` GROUP BY m.id HAVING COUNT(n.id) <> 2 OR COUNT(DISTINCT n.channel) <> 2`},
	{"nobody else is welcomed", `SELECT n.id AS row_id FROM shop_notify.notification n
			LEFT JOIN shop_member.member m ON m.phone = n.recipient OR m.email = n.recipient
			WHERE n.event_type = 'member.registered' AND m.id IS NULL`},
	{"each notification arrived once", `SELECT n.id AS row_id FROM shop_notify.notification n
			LEFT JOIN shop_notify.inbox i ON i.id = n.id WHERE n.state <> 'SENT' OR i.id IS NULL
		UNION ALL SELECT i.id FROM shop_notify.inbox i LEFT JOIN shop_notify.notification n ON n.id = i.id WHERE n.id IS NULL`},
	{"each order's event was sent and consumed by notify", `SELECT e.event_id AS row_id FROM shop_order.order_event e
			LEFT JOIN shop_order.mq_outbox x ON x.event_id = e.event_id AND x.state = 'SENT'
			LEFT JOIN shop_notify.mq_inbox i ON i.grp = 'notify-orders' AND i.event_id = e.event_id AND i.state = 'DONE'
			WHERE x.id IS NULL OR i.id IS NULL`},
	{"an order's events had their effects in order", `SELECT a.event_id AS row_id FROM shop_notify.mq_inbox a JOIN shop_notify.mq_inbox b
			ON b.grp = a.grp AND b.source = a.source AND b.subject = a.subject AND b.generation = a.generation AND b.seq = a.seq + 1
			WHERE a.grp = 'notify-orders' AND b.closed_at < a.closed_at`},
	{"deliveries had their effects in order", `SELECT a.event_id AS row_id FROM shop_order.mq_inbox a JOIN shop_order.mq_inbox b
			ON b.grp = a.grp AND b.source = a.source AND b.subject = a.subject AND b.generation = a.generation AND b.seq = a.seq + 1
			WHERE a.grp = 'order-deliveries' AND b.closed_at < a.closed_at`},
	{"no timer is overdue", `SELECT id AS row_id FROM shop_order.mq_timer WHERE state = 'ARMED' AND due_at < NOW(3) - INTERVAL 10 SECOND`},
	{"each paid order is one e-mail", `SELECT o.id AS row_id FROM shop_order.order_event e JOIN shop_order.orders o ON o.id = e.order_id
			JOIN shop_member.member m ON m.id = o.member_id
			LEFT JOIN shop_notify.notification n ON n.event_id = e.event_id AND n.recipient = m.email
			WHERE e.event_type = 'order.paid' AND ` + signedUp + ` GROUP BY o.id HAVING COUNT(n.id) <> 1`},
	{"orders follow their deliveries", `SELECT o.id AS row_id FROM shop_order.orders o JOIN shop_wms.delivery_slip d ON d.order_id = o.id
			WHERE d.status = 'SHIPPED' AND o.status <> 'SHIPPED' OR d.status = 'DELIVERED' AND o.status <> 'COMPLETED'
			OR o.status = 'SHIPPED' AND d.status <> 'SHIPPED' OR o.status = 'COMPLETED' AND d.status <> 'DELIVERED'`},
	{"order has every product as inventory has it", `SELECT p.sku AS row_id FROM shop_inventory.product p
			LEFT JOIN shop_order.product c ON c.sku = p.sku AND c.name = p.name AND c.price_cents = p.price_cents
				AND c.version = p.version - IF(p.version > p.version_base, p.version_base, 0)
			WHERE c.sku IS NULL`},
}

// registration is an additional check, for a shop that gives points for a sign-up.
const registration = `SELECT m.id AS row_id FROM shop_member.member m
		LEFT JOIN shop_credit.credit_entry e ON e.member_id = m.id AND e.source LIKE 'registration:%' AND e.status = 'ADDED' AND e.points = 100
		WHERE ` + signedUp + ` GROUP BY m.id HAVING COUNT(e.source) <> 1
	UNION ALL SELECT e.source FROM shop_credit.credit_entry e LEFT JOIN shop_member.member m ON m.id = e.member_id
		WHERE e.source LIKE 'registration:%' AND m.id IS NULL`

const signedUp = `m.email NOT IN ('operator@example.com', 'demo@example.com')`

func boxes(database string) string {
	return `SELECT event_id AS row_id FROM ` + database + `.mq_outbox WHERE state IN ('READY', 'HALF')
		UNION ALL SELECT event_id FROM ` + database + `.mq_inbox WHERE state IN ('WAITING', 'DEAD')`
}

// requireEffects waits until all effects are there. The row of a transactional message stays open until the broker would have asked back, so
// this takes half of halfGrace (member's half_grace).
func requireEffects(t testing.TB, more ...string) {
	t.Helper()
	var problems []string
	require.Eventually(t, func() bool {
		problems = effectProblems(t, more...)
		return len(problems) == 0
	}, 120*time.Second, 500*time.Millisecond, "effects: %v", &problems)
}

// effectProblems returns which of effects, and of the queries in more, fail.
func effectProblems(t testing.TB, more ...string) []string {
	t.Helper()
	checks := slices.Clone(effects)
	for _, name := range services {
		checks = append(checks, check{"nothing is left in " + name + "'s boxes", boxes("shop_" + name)})
	}
	for _, query := range more {
		checks = append(checks, check{"more", query})
	}
	reader := open(t, target.MySQL.DSN("shop_order"))
	var problems []string
	for _, c := range checks {
		var rows, count any
		err := reader.QueryRowContext(t.Context(), "SELECT COUNT(*), GROUP_CONCAT(q.row_id) FROM ("+c.query+") q").Scan(&count, &rows)
		if err != nil {
			problems = append(problems, c.name+": "+err.Error())
		} else if rows != nil {
			problems = append(problems, fmt.Sprintf("%s: not with %s: %.200s", c.name, said(count), said(rows)))
		}
	}
	return problems
}

func said(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}
