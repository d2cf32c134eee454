package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrOnce is returned by Outage when something that was committed had no effect, or more than one.
var ErrOnce = errors.New("not everything took effect once: `make audits` shows what each group has of what was sent")

// tally says how often what was committed took effect.
type tally struct {
	events        int // that were committed
	arrived       int // deliveries of these that had their effect, over all groups
	effects       int // points, SMS and e-mails
	lost, doubled int
	wrong         []string // what was lost or doubled
}

// facts are the events that the databases of those who published them say must have happened, about the members in (…): member's rows and
// order's history, which are written with the change itself.
var facts = []string{
	"SELECT m.id FROM shop_member.member m WHERE m.id IN (…)",
	"SELECT e.event_id FROM shop_order.order_event e JOIN shop_order.orders o ON o.id = e.order_id WHERE o.member_id IN (…)",
}

// deliveries say, for each group that follows and each of these events, how often the group has handled it.
var deliveries = []struct{ what, query string }{
	{"credit-registration", registered("shop_credit", "credit-registration")},
	{"notify-sms", registered("shop_notify", "notify-sms")},
	{"notify-email", registered("shop_notify", "notify-email")},
	{"notify-orders", `SELECT CONCAT(e.event_type, ' of order ', o.id), (SELECT COUNT(*) FROM shop_order.mq_outbox x
			JOIN shop_notify.mq_inbox i ON i.event_id = x.event_id AND i.grp = 'notify-orders' AND i.state = 'DONE'
			WHERE x.event_id = e.event_id AND x.state <> 'VOID')
		FROM shop_order.order_event e JOIN shop_order.orders o ON o.id = e.order_id WHERE o.member_id IN (…)`},
}

// registered counts what a group has handled of a member's sign-up.
func registered(database, group string) string {
	return `SELECT CONCAT('sign-up of member ', m.id), (SELECT COUNT(*) FROM shop_member.mq_outbox x
			JOIN ` + database + `.mq_inbox i ON i.event_id = x.event_id AND i.grp = '` + group + `' AND i.state = 'DONE'
			WHERE x.subject = m.id AND x.topic = 'member-events' AND x.state <> 'VOID')
		FROM shop_member.member m WHERE m.id IN (…)`
}

// effects say how often what a shopper sees has happened, whatever the inboxes say.
var effects = []struct{ what, query string }{
	{"points", `SELECT CONCAT('sign-up of member ', m.id), (SELECT COUNT(*) FROM shop_credit.credit_entry e
			WHERE e.member_id = m.id AND e.source LIKE 'registration:%' AND e.status = 'ADDED')
		FROM shop_member.member m WHERE m.id IN (…)`},
	{"SMS", `SELECT CONCAT('sign-up of member ', m.id), (SELECT COUNT(*) FROM shop_notify.notification n
			WHERE n.event_type = 'member.registered' AND n.channel = 'SMS' AND n.recipient = m.phone AND n.state = 'SENT')
		FROM shop_member.member m WHERE m.id IN (…)`},
	{"e-mail", `SELECT CONCAT('sign-up of member ', m.id), (SELECT COUNT(*) FROM shop_notify.notification n
			WHERE n.event_type = 'member.registered' AND n.channel = 'EMAIL' AND n.recipient = m.email AND n.state = 'SENT')
		FROM shop_member.member m WHERE m.id IN (…)`},
	{"e-mail", `SELECT CONCAT(e.event_type, ' of order ', o.id), (SELECT COUNT(*) FROM shop_notify.notification n
			WHERE n.event_type = e.event_type AND n.recipient = m.email AND n.subject LIKE CONCAT('%', o.id) AND n.state = 'SENT')
		FROM shop_order.order_event e JOIN shop_order.orders o ON o.id = e.order_id JOIN shop_member.member m ON m.id = o.member_id
		WHERE o.member_id IN (…) AND e.event_type = 'order.paid'`},
}

// count counts how often each sign-up and each change of an order of these members took effect.
func (d *Demo) count(ctx context.Context, members ...string) (t tally, err error) {
	for _, query := range facts {
		err = errors.Join(err, d.each(ctx, "SELECT f.*, 1 FROM ("+query+") f", members, func(string, int) { t.events++ }))
	}
	once := func(total *int, what string) func(subject string, n int) {
		return func(subject string, n int) {
			*total += n
			switch {
			case n == 0:
				t.lost++
				t.wrong = append(t.wrong, fmt.Sprintf("%s: %s is missing", subject, what))
			case n > 1:
				t.doubled += n - 1
				t.wrong = append(t.wrong, fmt.Sprintf("%s: %s happened %d times", subject, what, n))
			}
		}
	}
	for _, q := range deliveries {
		err = errors.Join(err, d.each(ctx, q.query, members, once(&t.arrived, q.what)))
	}
	for _, q := range effects {
		err = errors.Join(err, d.each(ctx, q.query, members, once(&t.effects, q.what)))
	}
	return t, err
}

// each calls f for each row of query.
func (d *Demo) each(ctx context.Context, query string, members []string, f func(subject string, n int)) error {
	text, args := withMembers(query, members)
	rows, err := d.reader.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			subject string
			n       int
		)
		if err := rows.Scan(&subject, &n); err != nil {
			return err
		}
		f(subject, n)
	}
	return rows.Err()
}

// withMembers returns query with the members in place of each …, and its arguments.
func withMembers(query string, members []string) (text string, args []any) {
	for range strings.Count(query, "…") {
		for _, m := range members {
			args = append(args, m)
		}
	}
	return strings.ReplaceAll(query, "…", strings.TrimSuffix(strings.Repeat("?, ", len(members)), ", ")), args
}

// write writes what was counted, and returns ErrOnce unless everything took effect once.
func (t tally) write(p page) error {
	style, sums := green, fmt.Sprintf("lost %d, doubled %d", t.lost, t.doubled)
	right := t.lost == 0 && t.doubled == 0 && t.events > 0
	if !right {
		style = red
	}
	p.line("%s   %s: %d events, %d deliveries to their groups, and", p.in(bold, "Once"), p.in(style, sums), t.events, t.arrived)
	p.line("       %d points, SMS and e-mails, counted in the databases.", t.effects)
	for i, text := range t.wrong {
		if i == 10 {
			p.line("       … and %d more", len(t.wrong)-i)
			break
		}
		p.line("       %s", text)
	}
	if !right {
		return ErrOnce
	}
	return nil
}
