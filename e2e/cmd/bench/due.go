package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
)

// together is how many timers are due in the same second, and payments how long payments are made before and from then on.
const together, meanwhile = 1000, 8 * time.Second

// due measures how long it takes until orders that are due together are closed, when as many timers are armed as are asked for, and what
// payments have of it that arrive at a rate they can be made at.
func (g *growth) due(ctx context.Context, dir string, room func() error) error {
	step := g.log.Step("orders")
	unpaid, err := newFamily(ctx, g.shop.root, "unpaid", originals, func(ctx context.Context) error {
		if _, err := g.shop.toPay(ctx, originals, false); err != nil {
			return err
		}
		return g.shop.quiet(ctx)
	}, "shop_order.orders", "shop_order.order_line", "shop_order.order_event", "shop_order.mq_timer") // what an order needs to be closed
	if err != nil {
		step.Fail()
		return err
	}
	step.Done("%d unpaid ones made, whose rows in %d tables are what is copied", originals, len(unpaid.tables))
	rate, _, _ := median(g.found[len(g.found)-1].our, func(_ int, r run) float64 { return r.rate() })
	rate *= share
	for _, n := range slices.Compact([]int{originals, g.timers}) {
		if err := g.fill(ctx, unpaid, n, room); err != nil {
			return err
		}
		if err := g.dueOnce(ctx, dir, rate); err != nil {
			return err
		}
	}
	return nil
}

// dueOnce measures once, with the timers that are armed now.
func (g *growth) dueOnce(ctx context.Context, dir string, rate float64) error {
	var armed int
	if err := g.shop.root.QueryRowContext(ctx, "SELECT COUNT(*) FROM shop_order.mq_timer WHERE state = 'ARMED'").Scan(&armed); err != nil {
		return err
	}
	n := int(rate * meanwhile.Seconds())
	var p [2]payments
	for i := range p {
		var err error
		if p[i], err = g.payments(ctx, n); err != nil {
			return err
		}
	}
	ids, err := g.shop.toPay(ctx, together, false)
	if err != nil {
		return err
	}
	before := steady(ctx, members, n, rate, p[0].pay, p[0].quiet)
	if before.err != nil {
		return before.err
	}
	const ahead = 10 * time.Second
	at := time.Now().Add(ahead).UTC().Truncate(time.Second)
	if err := rearm(ctx, dir, ids, at); err != nil {
		return fmt.Errorf("set timers to another time: %w", err)
	}
	if err := g.shop.quiet(ctx); err != nil { // the broker has the wake-ups
		return err
	}
	if time.Until(at) < 0 {
		return errors.New("the wake-ups were sent too late to be on time")
	}
	time.Sleep(time.Until(at))
	during := steady(ctx, members, n, rate, p[1].pay, p[1].quiet)
	if during.err != nil {
		return during.err
	}
	half, all, err := g.closedAfter(ctx, ids, at)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d timers armed, %d of them due in one second: half of their orders closed after %.1f s, all after %.1f s;\n"+
		"payments at %.0f a second: p99 %.0f ms before, %.0f ms in the %s from then on (p50 %.0f and %.0f ms)\n", armed, len(ids), half.Seconds(), all.Seconds(),
		rate, ms(before.quantile(0.99)), ms(during.quantile(0.99)), meanwhile, ms(before.quantile(0.5)), ms(during.quantile(0.5)))
	return nil
}

// rearm makes orders due at another time, as if they had been created with it: their timers are armed anew by the code that arms them, and the
// relay sends the wake-ups to the broker.
func rearm(ctx context.Context, dir string, ids []string, at time.Time) error {
	db, err := openRoot(dir, "shop_order")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	timers := mq.NewTimers(mq.NewOutbox(db, mq.NewBus("order", nil, mq.Config{}), mq.OutboxConfig{}), eventv1.TopicOrderTimers, nil)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	in, args := database.In(ids)
	if _, err := tx.ExecContext(ctx, "UPDATE orders SET expires_at = ? WHERE id IN ("+in+")", append([]any{at}, args...)...); err != nil {
		return err
	}
	for _, id := range ids {
		timer := "expiry:" + id
		var text []byte
		if err := tx.QueryRowContext(ctx, "SELECT event FROM mq_timer WHERE id = ? AND state = 'ARMED' FOR UPDATE", timer).Scan(&text); err != nil {
			return err
		}
		var e mq.Event
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM mq_timer WHERE id = ?", timer); err != nil {
			return err
		}
		if err := timers.At(ctx, tx, timer, at, e); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// closedAfter waits until the timers of orders have fired, and returns when after at half and all had. It returns an error unless each order is
// closed because its time was over.
func (g *growth) closedAfter(ctx context.Context, ids []string, at time.Time) (half, all time.Duration, err error) {
	timers := make([]string, len(ids))
	for i, id := range ids {
		timers[i] = "expiry:" + id
	}
	in, args := database.In(timers)
	for over := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var armed int
		if err := g.shop.root.QueryRowContext(ctx, "SELECT COUNT(*) FROM shop_order.mq_timer WHERE state = 'ARMED' AND id IN ("+in+")", args...).
			Scan(&armed); err != nil {
			return 0, 0, err
		}
		if armed == 0 {
			break
		}
		if time.Now().After(over) || ctx.Err() != nil {
			return 0, 0, fmt.Errorf("%d of %d timers have not fired", armed, len(ids))
		}
	}
	rows, err := g.shop.root.QueryContext(ctx, "SELECT UNIX_TIMESTAMP(closed_at) FROM shop_order.mq_timer WHERE state = 'FIRED' AND id IN ("+in+
		") ORDER BY closed_at", args...)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = rows.Close() }()
	var after []time.Duration
	for rows.Next() {
		var seconds float64
		if err := rows.Scan(&seconds); err != nil {
			return 0, 0, err
		}
		after = append(after, time.UnixMilli(int64(seconds*1000)).Sub(at))
	}
	if err := rows.Err(); err != nil {
		return 0, 0, err
	}
	expired, err := g.shop.ordersOf(ctx, ids, "CANCELED")
	if err == nil && (expired != len(ids) || len(after) != len(ids)) {
		err = fmt.Errorf("of %d orders that were due %d are closed, and %d timers fired", len(ids), expired, len(after))
	}
	if err != nil {
		return 0, 0, err
	}
	return after[len(after)/2], after[len(after)-1], nil
}
