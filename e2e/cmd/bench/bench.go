package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// members is how many members pay, and so how many payments can be made at a time: each pays one after another.
const members, products = 64, 1000

type bench struct {
	rounds  int
	window  time.Duration
	counted int
	at      []int
	// around is the window of what is around the payment, and only what is measured, "" for all.
	around time.Duration
	only   string

	shop   *shop
	local  *local
	sample *sample
	// results are by way and workers, one a round.
	results map[key][]run
	// need is how many payments each made lately in a window, so that enough orders are there.
	need map[key]int
}

type key struct {
	way     string
	workers int
}

// way is a way of making payments.
type way struct {
	key, name string
	hot       bool
	// prepare makes n payments possible, and returns what makes the i-th of them, what waits for the end of all, and what finds mistakes.
	prepare func(ctx context.Context, n int, hot bool) (payments, error)
}

type payments struct {
	pay   func(ctx context.Context, worker, i int) error
	quiet func(context.Context) error
	// check returns how many were made, in all databases, and an error when one was made in some only.
	check func(context.Context) (int, error)
}

// ways are all of them, in the order in which they take turns.
func (b *bench) ways() []way {
	return []way{
		{"a", "one local transaction", false, b.locally((*local).once)},
		{"b", "XA, two phases", false, b.locally((*local).inTwoPhases)},
		{"c", "DTM as in its examples", false, b.sampled},
		{"d", "our payment, at order", false, b.ours((*shop).payAtOrder)},
		{"e", "our payment, at the gateway", false, b.ours((*shop).payAtGateway)},
		{"a hot", "the same of one product", true, b.locally((*local).once)},
		{"d hot", "the same of one product", true, b.ours((*shop).payAtOrder)},
	}
}

func (b *bench) locally(once func(*local, context.Context, job) error) func(context.Context, int, bool) (payments, error) {
	return func(ctx context.Context, n int, hot bool) (payments, error) {
		jobs, err := b.local.orders(ctx, n, hot)
		return payments{
			pay:   func(ctx context.Context, _, i int) error { return once(b.local, ctx, jobs[i]) },
			quiet: func(context.Context) error { return nil },
			check: func(ctx context.Context) (int, error) { return b.local.books(ctx) },
		}, err
	}
}

func (b *bench) sampled(ctx context.Context, n int, hot bool) (payments, error) {
	jobs, err := b.local.orders(ctx, n, hot)
	return payments{
		pay:   func(ctx context.Context, _, i int) error { return b.sample.pay(ctx, jobs[i]) },
		quiet: b.sample.quiet,
		check: b.local.books,
	}, err
}

func (b *bench) ours(pay func(s *shop, ctx context.Context, ids []string, i int) error) func(context.Context, int, bool) (payments, error) {
	return func(ctx context.Context, n int, hot bool) (payments, error) {
		ids, err := b.shop.toPay(ctx, n, hot)
		if err == nil {
			err = b.shop.quiet(ctx)
		}
		return payments{
			pay:   func(ctx context.Context, _, i int) error { return pay(b.shop, ctx, ids, i) },
			quiet: b.shop.quiet,
			check: func(ctx context.Context) (int, error) {
				if err := b.shop.books(ctx); err != nil {
					return 0, err
				}
				return b.shop.paidOf(ctx, ids)
			},
		}, err
	}
}

func (b *bench) run(ctx context.Context) (err error) {
	dir, err := temporary()
	if err != nil {
		return err
	}
	if b.shop, err = openShop(ctx, dir, products, members, nil, os.Stderr); b.shop != nil {
		defer func() { err = errors.Join(err, b.shop.close()) }()
	}
	if err != nil {
		return err
	}
	if err := b.settings(ctx); err != nil {
		return err
	}
	defer func() {
		if b.sample != nil {
			b.sample.close()
		}
	}()
	b.results, b.need = map[key][]run{}, map[key]int{}
	a := around{shop: b.shop, window: b.around, at: b.fewAtATime()}
	for _, prepare := range []struct {
		not string
		do  func(context.Context) error
	}{{onlyAround, b.openLocal}, {onlyPayments, a.prepare}} {
		if b.only != prepare.not {
			if err := prepare.do(ctx); err != nil {
				return err
			}
		}
	}
	for round := range b.rounds {
		if b.only != onlyAround {
			if err := b.round(ctx, round); err != nil {
				return err
			}
		}
		if b.only != onlyPayments {
			if err := a.round(ctx, round); err != nil {
				return err
			}
		}
	}
	if b.only != onlyAround {
		b.table()
	}
	if b.only != onlyPayments {
		if err := a.check(ctx); err != nil {
			return err
		}
		a.table()
	}
	if b.only == onlyAround {
		return nil
	}
	if err := b.arrivals(ctx); err != nil {
		return err
	}
	return b.costs(ctx)
}

// What only may be.
const onlyPayments, onlyAround = "payments", "around"

// fewAtATime returns the least of b.at and the greatest that is at most 16: no more newcomers come at the same time.
func (b *bench) fewAtATime() []int {
	few := []int{slices.Min(b.at)}
	for _, n := range slices.Sorted(slices.Values(b.at)) {
		if n <= 16 && n > few[0] {
			few = []int{few[0], n}
		}
	}
	return few
}

// openLocal opens what payments are compared with.
func (b *bench) openLocal(ctx context.Context) (err error) {
	buyers := make([]string, members)
	for i := range buyers {
		buyers[i] = fmt.Sprintf("00000000-0000-0000-0000-%012d", i)
	}
	if b.local, err = openLocal(ctx, b.shop.root, b.shop.skus, buyers); err != nil {
		return err
	}
	if b.sample, err = openSample(ctx, b.shop.root, b.shop.stack.Database(), filepath.Join(b.shop.stack.Dir(), "log")); err != nil {
		err = fmt.Errorf("start DTM as in its examples: %w", err)
	}
	return err
}

// round measures each way once, with each number of payments at a time.
func (b *bench) round(ctx context.Context, round int) error {
	for _, workers := range b.at {
		for _, w := range b.ways() {
			if w.hot && workers != slices.Max(b.at) {
				continue
			}
			r, err := b.measure(ctx, w, workers)
			if err != nil {
				return fmt.Errorf("%s, %d at a time: %w", w.name, workers, err)
			}
			fmt.Fprintf(os.Stderr, "round %d  %-6s %2d at a time  %7.1f a second  p50 %6.1f ms  p99 %6.1f ms\n", round+1, w.key, workers, r.rate(),
				ms(r.quantile(0.5)), ms(r.quantile(0.99)))
		}
	}
	return nil
}

// share is the part of the rate of the closed loop that payments arrive at in the open one: nobody runs a shop at its limit.
const share = 0.7

// arrivals measures how long a payment takes when they arrive at a rate, whether or not those before have ended.
func (b *bench) arrivals(ctx context.Context) error {
	rate, _, _ := b.median(key{"d", slices.Max(b.at)}, func(_ int, r run) float64 { return r.rate() })
	rate *= share
	n := int(rate * b.window.Seconds())
	p, err := b.ours((*shop).payAtOrder)(ctx, n, false)
	if err != nil {
		return err
	}
	r := steady(ctx, members, n, rate, p.pay, p.quiet)
	if r.err == nil {
		_, r.err = p.check(ctx)
	}
	if r.err != nil {
		return fmt.Errorf("at %.1f a second: %w", rate, r.err)
	}
	p50, p99 := r.quantile(0.5), r.quantile(0.99)
	fmt.Printf("\nour payment, at order, at %.1f a second (%.0f %% of that): p50 %.1f ms, p99 %.1f ms, %.1f times as long\n", rate, share*100, ms(p50),
		ms(p99), float64(p99)/float64(p50))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// settings prints what all ways share, and fails when commits are not durable.
func (b *bench) settings(ctx context.Context) error {
	var version, flush, binlog, pool string
	err := b.shop.root.QueryRowContext(ctx, "SELECT @@version, @@innodb_flush_log_at_trx_commit, @@log_bin, @@innodb_buffer_pool_size DIV 1048576").
		Scan(&version, &flush, &binlog, &pool)
	if err != nil {
		return err
	}
	fmt.Printf("MariaDB %s, innodb_flush_log_at_trx_commit = %s, log_bin = %s, buffer pool %s MB; %d products, %d members\n", version, flush, binlog,
		pool, products, members)
	if err := b.durable(ctx); err != nil {
		return err
	}
	return countCommits(ctx, b.shop.root)
}

// durable returns an error when commits are not durable.
func (b *bench) durable(ctx context.Context) error {
	var flush string
	err := b.shop.root.QueryRowContext(ctx, "SELECT @@innodb_flush_log_at_trx_commit").Scan(&flush)
	if err == nil && flush != "1" {
		err = errors.New("innodb_flush_log_at_trx_commit is not 1: a commit is not durable, so no rate means anything")
	}
	return err
}

// measure makes payments for a window.
func (b *bench) measure(ctx context.Context, w way, workers int) (run, error) {
	k := key{w.key, workers}
	n := max(b.need[k]*3/2, 600)
	if strings.HasPrefix(w.key, "a") || w.key == "b" {
		n = max(n, 12000)
	}
	p, err := w.prepare(ctx, n, w.hot)
	if err != nil {
		return run{}, err
	}
	r := closed(ctx, workers, n, b.window, p.pay, p.quiet)
	if r.err == nil {
		r.done, r.err = p.check(ctx)
	}
	b.need[k] = r.done
	b.results[k] = append(b.results[k], r)
	return r, r.err
}

// median returns the middle of what of returns for each round, and the least and the greatest.
func (b *bench) median(k key, of func(round int, r run) float64) (middle, least, greatest float64) {
	return median(b.results[k], of)
}

func median(runs []run, of func(round int, r run) float64) (middle, least, greatest float64) {
	var all []float64
	for i, r := range runs {
		all = append(all, of(i, r))
	}
	slices.Sort(all)
	return all[len(all)/2], all[0], all[len(all)-1]
}

// table prints the medians of all rounds.
func (b *bench) table() {
	fmt.Printf("\n%-6s %-28s %9s %22s %24s %9s %9s\n", "", "", "at a time", "a second (range)", "of (a) (range)", "p50 ms", "p99 ms")
	for _, workers := range b.at {
		for _, w := range b.ways() {
			k := key{w.key, workers}
			if len(b.results[k]) == 0 {
				continue
			}
			rate, least, most := b.median(k, func(_ int, r run) float64 { return r.rate() })
			ratio, low, high := b.median(k, func(i int, r run) float64 { return r.rate() / b.results[key{"a", workers}][i].rate() })
			p50, _, _ := b.median(k, func(_ int, r run) float64 { return ms(r.quantile(0.5)) })
			p99, _, _ := b.median(k, func(_ int, r run) float64 { return ms(r.quantile(0.99)) })
			fmt.Printf("%-6s %-28s %9d %8.1f (%.1f–%.1f) %10.3f (%.3f–%.3f) %9.1f %9.1f\n", w.key, w.name, workers, rate, least, most, ratio, low, high,
				p50, p99)
		}
	}
	for _, workers := range b.at {
		n, low, high := b.median(key{"d", workers}, func(i int, r run) float64 { return r.rate() / b.results[key{"c", workers}][i].rate() })
		fmt.Printf("our payment, at order, %d at a time, is %.1f (%.1f–%.1f) times DTM as in its examples, of the same round\n", workers, n, low, high)
	}
}

// priced is something with what it costs.
type priced struct {
	title string
	cost  cost
}

// costs prints what a payment costs.
func (b *bench) costs(ctx context.Context) error {
	columns, err := b.eachCosts(ctx, 10*time.Second, 1, slices.Max(b.at))
	if err != nil {
		return err
	}
	fmt.Printf("\n%-28s", "")
	for _, c := range columns {
		fmt.Printf(" %26s", c.title)
	}
	fmt.Println()
	for _, name := range slices.Sorted(maps.Keys(columns[0].cost)) {
		fmt.Printf("%-28s", name)
		for _, c := range columns {
			fmt.Printf(" %26.2f", c.cost[name])
		}
		fmt.Println()
	}
	return nil
}

// eachCosts counts what the stack costs a second when it is idle for a while, and what a payment costs beyond that, made so many at a time.
func (b *bench) eachCosts(ctx context.Context, idleFor time.Duration, at ...int) ([]priced, error) {
	idle, lasted, err := b.count(ctx, func() error {
		select {
		case <-ctx.Done():
		case <-time.After(idleFor):
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	for name := range idle {
		idle[name] /= lasted.Seconds()
	}
	columns := []priced{{"idle, a second", idle}}
	for _, workers := range at {
		p, err := b.ours((*shop).payAtOrder)(ctx, b.counted, false)
		if err != nil {
			return nil, err
		}
		var r run
		used, lasted, err := b.count(ctx, func() error {
			r = closed(ctx, workers, b.counted, time.Hour, p.pay, p.quiet)
			return r.err
		})
		if err != nil {
			return nil, err
		}
		for name := range used {
			used[name] = (used[name] - idle[name]*lasted.Seconds()) / float64(r.done)
		}
		columns = append(columns, priced{fmt.Sprintf("a payment, %d at a time", workers), used})
	}
	return columns, nil
}

// count returns what f costs and how long it lasts.
func (b *bench) count(ctx context.Context, f func() error) (cost, time.Duration, error) {
	before, err := b.shop.cost(ctx)
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return nil, 0, err
	}
	lasted := time.Since(began)
	after, err := b.shop.cost(ctx)
	if err != nil {
		return nil, 0, err
	}
	return after.minus(before), lasted, nil
}
