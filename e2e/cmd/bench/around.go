package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// around measures what a shopper does before and after a payment, at the gateway, in windows as short as its answers are.
type around struct {
	shop   *shop
	window time.Duration
	// at is how many do it at a time.
	at      []int
	results map[key][]run
	ups     signUps
}

// errand is one thing that is done around a payment.
type errand struct {
	key, name string
	do        func(ctx context.Context, worker, i int) error
	// quiet waits until what follows has taken effect, and check finds mistakes.
	quiet func(context.Context) error
	check func(context.Context) error
}

// The two measures of a sign-up: until it is answered, and until its last follower has taken effect.
const signUpKey, followedKey = "sign-up", "sign-up followed"

// perPage is how many products or orders a page has.
const perPage = 20

func (a *around) errands() []errand {
	var created made
	return []errand{
		{signUpKey, "sign-up, answered", a.ups.one, a.ups.wait, a.ups.wait},
		{"create", "order created", func(ctx context.Context, worker, i int) error {
			id, err := a.shop.create(ctx, worker, pick(a.shop.skus, i, false))
			created.add(id)
			return err
		}, a.shop.quiet, func(ctx context.Context) error { return created.check(ctx, a.shop) }},
		{"catalogue", fmt.Sprintf("catalogue, a page of %d", perPage), func(ctx context.Context, worker, _ int) error {
			var page struct{ Products []struct{ SKU string } }
			err := a.shop.buyers[worker].Call(ctx, http.MethodGet, fmt.Sprintf("/v1/products?page_size=%d", perPage), nil, &page)
			return full(len(page.Products), err)
		}, nothing, nothing},
		{"product", "one product", func(ctx context.Context, worker, i int) error {
			var p struct{ SKU string }
			sku := pick(a.shop.skus, i, false)
			err := a.shop.buyers[worker].Call(ctx, http.MethodGet, "/v1/products/"+sku, nil, &p)
			if err == nil && p.SKU != sku {
				err = fmt.Errorf("asked for product %s, was answered %q", sku, p.SKU)
			}
			return err
		}, nothing, nothing},
		{"history", fmt.Sprintf("a shopper's last %d orders", perPage), func(ctx context.Context, worker, _ int) error {
			var page struct{ Orders []struct{ ID string } }
			err := a.shop.buyers[worker].Call(ctx, http.MethodGet, fmt.Sprintf("/v1/orders?page_size=%d", perPage), nil, &page)
			return full(len(page.Orders), err)
		}, nothing, nothing},
	}
}

func nothing(context.Context) error { return nil }

// full returns an error unless a page was full: a shorter one is answered faster.
func full(n int, err error) error {
	if err == nil && n != perPage {
		err = fmt.Errorf("a page has %d entries instead of %d", n, perPage)
	}
	return err
}

// made are the orders of a window.
type made struct {
	mu  sync.Mutex
	ids []string
}

func (m *made) add(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id != "" {
		m.ids = append(m.ids, id)
	}
}

// check returns an error unless each answer was about an order of its own that can be paid.
func (m *made) check(ctx context.Context, s *shop) error {
	n, err := s.ordersOf(ctx, m.ids, "CREATED")
	if err == nil && n != len(m.ids) {
		err = fmt.Errorf("%d orders were answered for, and %d are there", len(m.ids), n)
	}
	m.ids = nil
	return err
}

// prepare gives each buyer as many orders as a page has.
func (a *around) prepare(ctx context.Context) error {
	a.results = map[key][]run{}
	a.ups.shop = a.shop
	if _, err := a.shop.toPay(ctx, perPage*len(a.shop.buyers), false); err != nil {
		return err
	}
	return a.shop.quiet(ctx)
}

// round measures each errand once, with each number of callers.
func (a *around) round(ctx context.Context, round int) error {
	for _, workers := range a.at {
		for _, e := range a.errands() {
			a.ups.next()
			// Whatever a second takes; the numbers of calls have no end.
			r := closed(ctx, workers, int(^uint(0)>>1), a.window, e.do, e.quiet)
			if r.err == nil {
				r.err = e.check(ctx)
			}
			if r.err != nil {
				return fmt.Errorf("%s, %d at a time: %w", e.name, workers, r.err)
			}
			if e.key == signUpKey {
				k := key{followedKey, workers}
				a.results[k] = append(a.results[k], run{done: r.done, took: r.drained, times: a.ups.times()})
			}
			k := key{e.key, workers}
			a.results[k] = append(a.results[k], r)
			fmt.Fprintf(os.Stderr, "round %d  %-26s %2d at a time  %7.1f a second  p50 %6.1f ms  p99 %6.1f ms\n", round+1, e.name, workers,
				r.answered(), ms(r.quantile(0.5)), ms(r.quantile(0.99)))
		}
	}
	return nil
}

// answered is how many were answered a second.
func (r run) answered() float64 { return float64(r.done) / r.took.Seconds() }

// check returns an error unless every sign-up was followed once, now that all is over.
func (a *around) check(ctx context.Context) error {
	n, err := a.ups.followed(ctx, a.ups.all)
	if err == nil && n != len(a.ups.all) {
		err = errors.New("a sign-up is not followed any more")
	}
	return err
}

// table prints the medians of all rounds.
func (a *around) table() {
	fmt.Printf("\n%-28s %9s %24s %9s %9s\n", "around the payment", "at a time", "a second (range)", "p50 ms", "p99 ms")
	line := func(e, name string) {
		for _, workers := range a.at {
			runs := a.results[key{e, workers}]
			rate, least, most := median(runs, func(_ int, r run) float64 { return r.answered() })
			p50, _, _ := median(runs, func(_ int, r run) float64 { return ms(r.quantile(0.5)) })
			p99, _, _ := median(runs, func(_ int, r run) float64 { return ms(r.quantile(0.99)) })
			fmt.Printf("%-28s %9d %24s %9.1f %9.1f\n", name, workers, fmt.Sprintf("%.1f (%.1f–%.1f)", rate, least, most), p50, p99)
		}
	}
	for _, e := range a.errands() {
		line(e.key, e.name)
		if e.key == signUpKey {
			line(followedKey, "sign-up, all followed")
		}
	}
	fmt.Printf("%d sign-ups: points, SMS and e-mail once each\n", len(a.ups.all))
}
