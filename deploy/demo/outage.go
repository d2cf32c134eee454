package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

const (
	// noticeLimit is how long it may take until the services find the broker away; it takes seconds.
	noticeLimit = time.Minute
	// returnLimit is how long it may take until events go by the broker again: after several outages in ten minutes it must take events for
	// two minutes first.
	returnLimit = 5 * time.Minute
	// settleLimit is how long everything may take to have had its effect after that.
	settleLimit = time.Minute
)

// Outage kills the broker in the middle of a member's shopping, shows how long that was noticed, what happens meanwhile and after it is started
// again, and counts what took effect; the books come last. It returns ErrOnce when something was lost or doubled, and ErrBooks when the books
// do not add up. However it ends, the broker is started.
func (d *Demo) Outage(ctx context.Context, w io.Writer, color bool) error {
	p := page{w, color}
	t, err := d.outage(ctx, p)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w)
	return errors.Join(t.write(p), d.books(ctx, p))
}

// outage is Outage up to what was counted.
func (d *Demo) outage(ctx context.Context, p page) (t tally, err error) {
	v := openWay(d.target.Queues)
	defer func() { _ = v.rdb.Close() }()
	if err := v.ready(ctx); err != nil {
		return t, err
	}
	buyer, c, err := d.buyer(ctx)
	if err != nil {
		return t, err
	}
	traffic, err := v.watch(ctx)
	if err != nil {
		return t, err
	}
	defer traffic.end()
	shopping := d.shop(ctx, c)
	end := shopping.end
	defer func() { _, _ = end() }()
	if err := shopping.more(ctx, 3); err != nil {
		return t, err
	}
	_, _ = fmt.Fprintf(p.w, "\n  %s\n  %s\n  %s\n\n", p.in(bold, "The broker is killed in the middle of shopping"),
		"Events go by Redis until it is back: each comes, and takes effect once.", p.in(dim, "member "+buyer.Member+" buys all the time"))

	killed, started := time.Now(), time.Time{}
	defer func() {
		if started.IsZero() { // interrupted, or failed
			err = errors.Join(err, d.startBroker(ctx))
		}
	}()
	if err := errors.Join(d.control.Kill(ctx, "broker"), d.control.Stop(ctx, "broker")); err != nil { // before it is started again
		return t, err
	}
	noticed, err := v.await(ctx, byRedis, killed, noticeLimit, "`make logs SERVICE=order` says how its sends end")
	if err != nil {
		return t, err
	}
	away := noticed[len(noticed)-1]
	var first []passed
	if err := within(ctx, noticeLimit, func() (bool, error) {
		first = traffic.between(away.At, time.Time{})
		_, err := shopping.soFar()
		return len(first) > 0, err
	}); err != nil {
		return t, fmt.Errorf("no event went by Redis: %w: `make logs SERVICE=order` says how its sends end", err)
	}
	p.noticed(killed, away, first[0])

	newcomer, order, err := d.meanwhile(ctx)
	if err != nil {
		return t, err
	}
	p.meanwhile(newcomer, order)
	if err := shopping.more(ctx, 3); err != nil {
		return t, err
	}

	begun := time.Now()
	if err := d.control.Start(ctx, "broker"); err != nil {
		return t, err
	}
	started = begun
	returned, err := v.await(ctx, byBroker, started, returnLimit,
		"`make status` shows whether the broker is healthy, `make logs SERVICE=broker` why not")
	if err != nil {
		return t, err
	}
	back := returned[len(returned)-1].At
	if err := shopping.more(ctx, 3); err != nil {
		return t, err
	}
	end = func() ([]purchase, error) { return nil, nil }
	paid, err := shopping.end()
	if err != nil {
		return t, err
	}
	traffic.end()
	lately, err := v.changes(ctx, back.Add(-10*time.Minute))
	if err != nil {
		return t, err
	}
	times := 0
	for _, c := range lately {
		if c.From == byBroker {
			times++
		}
	}
	p.back(started, returned, times, len(traffic.between(away.At, back)), traffic.most)
	p.shopped(paid, killed, back)
	t, again, err := d.once(ctx, away.At, back, buyer.Member, newcomer.Member)
	if err := errors.Join(err, traffic.err); err != nil {
		return t, err
	}
	p.line("Sent again by the broker, whose history lacked them: %d events.", again)
	return t, nil
}

// ready waits until events go by the broker, so that there is something to be noticed.
func (v way) ready(ctx context.Context) error {
	var mode, force string
	err := within(ctx, returnLimit, func() (ok bool, err error) {
		mode, force, err = v.mode(ctx)
		return mode == byBroker || force != "", err
	})
	switch {
	case errors.Is(err, errLimit):
		return fmt.Errorf("the mode is %q and not NORMAL after %s: `make status` shows whether the broker is healthy", mode, returnLimit)
	case err == nil && force != "":
		return fmt.Errorf("an operator wants the mode to be %s: nothing would change it by itself", force)
	}
	return err
}

// buyer returns a member who can buy: all who follow have been heard of.
func (d *Demo) buyer(ctx context.Context) (SignUp, client, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := remoting.AwaitConsumers(ctx, d.target.Broker, append([]string{ordersGroup}, followers...)...); err != nil {
		return SignUp{}, client{}, err
	}
	return d.signUp(ctx)
}

// startBroker starts the broker again, whatever has ended.
func (d *Demo) startBroker(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := d.control.Start(ctx, "broker"); err != nil {
		return fmt.Errorf("%w: `make up` starts the broker again", err)
	}
	return errors.New("the broker is started again")
}

// once waits until everything that these members set off has had its effect, and what went by Redis is sent again and has come again; then it
// counts. again is how many events were sent again.
func (d *Demo) once(ctx context.Context, away, back time.Time, members ...string) (t tally, again int, err error) {
	left := 0
	err = within(ctx, settleLimit, func() (bool, error) {
		pause(ctx, 100*time.Millisecond) // the databases have to do
		var err error
		if left, again, err = d.again(ctx, away, back, members); err == nil {
			t, err = d.count(ctx, members...)
		}
		return left == 0 && t.lost == 0, err
	})
	switch {
	case errors.Is(err, errLimit) && left > 0:
		return t, again, fmt.Errorf("%d events that went by Redis are not sent again after %s: `make logs SERVICE=order` says why", left,
			settleLimit)
	case err != nil && !errors.Is(err, errLimit):
		return t, again, err
	}
	pause(ctx, 2*time.Second) // for what is under way: a second effect would come now
	t, err = d.count(ctx, members...)
	return t, again, err
}

// again returns how many of the events of the time without the broker are not yet sent again by it, and how many are.
func (d *Demo) again(ctx context.Context, away, back time.Time, members []string) (left, again int, err error) {
	// What was written in the last two seconds may have gone by the broker in the first place.
	const query = `SELECT
			COALESCE(SUM(x.state = 'READY' OR x.resent_at IS NULL AND x.created_at BETWEEN FROM_UNIXTIME(?) AND FROM_UNIXTIME(?)), 0),
			COALESCE(SUM(x.resent_at IS NOT NULL AND x.state = 'SENT'), 0)
		FROM (SELECT state, created_at, resent_at FROM shop_member.mq_outbox WHERE topic = 'member-events' AND subject IN (…)
			UNION ALL SELECT x.state, x.created_at, x.resent_at FROM shop_order.mq_outbox x JOIN shop_order.orders o ON o.id = x.subject
			WHERE x.topic = 'order-events' AND o.member_id IN (…)) x`
	seconds := func(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
	text, args := withMembers(query, members)
	err = d.reader.QueryRowContext(ctx, text, append([]any{seconds(away), seconds(back.Add(-2 * time.Second))}, args...)...).Scan(&left, &again)
	return left, again, err
}
