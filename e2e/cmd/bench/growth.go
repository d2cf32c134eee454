package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/e2e/internal/api"
)

// growth measures payments as the tables grow: made by real payments first, whose rows are then made again under other ids (see family).
type growth struct {
	*bench
	// sizes are how many paid orders there are, ascending, and timers how many are armed at the end.
	sizes  []int
	timers int
	// verbose: all plans are printed.
	verbose bool

	log   *progress.Log
	paid  *family
	found []found
}

// found is what was measured at one size.
type found struct {
	orders     int
	bytes      float64
	local, our []run
	books      time.Duration
	read       map[[2]string]float64 // rows a payment, by table
}

const (
	// originals is how many orders and timers are made by real calls, whose rows are then copied.
	originals = 1000
	// slower is which part of the rate at the least size there must be at the greatest.
	slower = 0.85
)

// run measures at all sizes and prints what it found. The error says what was too slow, or found its rows in a wrong way.
func (g *growth) run(ctx context.Context) (err error) {
	dir, err := temporary()
	if err != nil {
		return err
	}
	g.log = progress.New(os.Stderr)
	g.results, g.need = map[key][]run{}, map[key]int{}
	// What is checked regularly reads much that was long ago, whatever is paid meanwhile. The books are timed by themselves.
	env := map[string]string{"CONSERVATION_EVERY": "24h", "MQ_AUDIT_EVERY": "24h"}
	if g.shop, err = openShop(ctx, dir, products, members, env, os.Stderr); g.shop != nil {
		defer func() { err = errors.Join(err, g.shop.close()) }()
	}
	if err != nil {
		return err
	}
	if err := g.enlarge(ctx); err != nil {
		return err
	}
	if err := g.settings(ctx); err != nil {
		return err
	}
	if err := g.openLocal(ctx); err != nil {
		return err
	}
	step := g.log.Step("payments")
	if g.paid, err = newFamily(ctx, g.shop.root, "paid", originals, g.pay); err != nil {
		step.Fail()
		return err
	}
	step.Done("%d made, whose rows in %d tables are what is copied", originals, len(g.paid.tables))
	room, err := g.spare(ctx, dir, g.paid)
	if err != nil {
		return err
	}
	for _, n := range g.sizes {
		if err := g.fill(ctx, g.paid, n, room); err != nil {
			return err
		}
		if err := g.at(ctx, n); err != nil {
			return fmt.Errorf("with %d orders: %w", n, err)
		}
	}
	g.tables()
	if err := g.sizesOfTables(ctx); err != nil {
		return err
	}
	wrong := errors.Join(g.asFast(), g.look(ctx))
	return errors.Join(wrong, g.due(ctx, dir, room))
}

// pay makes real payments, as many as there are at the least size.
func (g *growth) pay(ctx context.Context) error {
	p, err := g.payments(ctx, originals)
	if err != nil {
		return err
	}
	return closed(ctx, members, originals, time.Hour, p.pay, p.quiet).err
}

// payments makes n payments possible, at order.
func (g *growth) payments(ctx context.Context, n int) (payments, error) {
	ids, err := g.shop.toPay(ctx, n, false)
	if err == nil {
		err = g.shop.quiet(ctx)
	}
	return payments{
		pay:   func(ctx context.Context, _, i int) error { return g.shop.payAtOrder(ctx, ids, i) },
		quiet: g.shop.quiet,
		check: func(ctx context.Context) (int, error) { return g.shop.paidOf(ctx, ids) },
	}, err
}

// at measures with n orders in the tables.
func (g *growth) at(ctx context.Context, n int) error {
	f := found{orders: n}
	local := way{"a", "one local transaction", false, g.locally((*local).once)}
	our := way{"d", "our payment, at order", false, func(ctx context.Context, n int, _ bool) (payments, error) { return g.payments(ctx, n) }}
	g.results = map[key][]run{}
	for round := range 1 + g.rounds { // the first is not counted: it fills what is cached
		for _, w := range []way{local, our} {
			r, err := g.measure(ctx, w, members)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			g.log.Say("window", "%s, %d: %.1f a second, p50 %.0f ms, p99 %.0f ms", w.key, round, r.rate(), ms(r.quantile(0.5)), ms(r.quantile(0.99)))
		}
	}
	f.local, f.our = g.results[key{"a", members}][1:], g.results[key{"d", members}][1:]
	var err error
	if f.read, err = g.reads(ctx); err != nil {
		return err
	}
	if err := g.shop.root.QueryRowContext(ctx, `SELECT SUM(data_length + index_length) FROM information_schema.tables
		WHERE table_schema LIKE 'shop\_%'`).Scan(&f.bytes); err != nil {
		return err
	}
	if f.books, err = g.booksTook(ctx); err != nil {
		return err
	}
	g.found = append(g.found, f)
	return nil
}

// booksTook returns how long the books take to check. The first checks read from the disk, and order answers none that takes longer than its
// grpc.timeout: each brings more into memory.
func (g *growth) booksTook(ctx context.Context) (took time.Duration, err error) {
	for range 6 {
		began := time.Now()
		err = g.shop.books(ctx)
		took = time.Since(began)
		if refused := new(api.Refusal); !errors.As(err, &refused) || refused.Code != http.StatusServiceUnavailable {
			break
		}
	}
	return took, err
}

// reads returns how many rows a payment reads of each table.
func (g *growth) reads(ctx context.Context) (map[[2]string]float64, error) {
	p, err := g.payments(ctx, g.counted)
	if err != nil {
		return nil, err
	}
	read, err := g.shop.reads(ctx, func() error { return closed(ctx, members, g.counted, time.Hour, p.pay, p.quiet).err })
	each := map[[2]string]float64{}
	for at, n := range read {
		each[at] = float64(n) / float64(g.counted)
	}
	return each, err
}

// tables prints what was measured.
func (g *growth) tables() {
	fmt.Printf("\n%10s %8s %22s %9s %9s %22s %10s\n", "orders", "GB", "a second (range)", "p50 ms", "p99 ms", "(a) a second (range)", "books s")
	rates := func(runs []run) string {
		rate, least, most := median(runs, func(_ int, r run) float64 { return r.rate() })
		return fmt.Sprintf("%.1f (%.1f–%.1f)", rate, least, most)
	}
	for _, f := range g.found {
		p50, _, _ := median(f.our, func(_ int, r run) float64 { return ms(r.quantile(0.5)) })
		p99, _, _ := median(f.our, func(_ int, r run) float64 { return ms(r.quantile(0.99)) })
		fmt.Printf("%10d %8.2f %22s %9.0f %9.0f %22s %10.1f\n", f.orders, f.bytes/1e9, rates(f.our), p50, p99, rates(f.local), f.books.Seconds())
	}
}

// asFast returns an error when payments are too slow at the greatest size.
func (g *growth) asFast() error {
	rate := func(runs []run) float64 {
		r, _, _ := median(runs, func(_ int, r run) float64 { return r.rate() })
		return r
	}
	first, last := g.found[0], g.found[len(g.found)-1]
	ratio, local := rate(last.our)/rate(first.our), rate(last.local)/rate(first.local)
	fmt.Printf("\npayments at %d orders: %.2f of the rate at %d, and one local transaction in tables that did not grow %.2f\n", last.orders, ratio,
		first.orders, local)
	if ratio < slower {
		return fmt.Errorf("with %d orders payments are made at %.2f of the rate with %d, and it must be %.2f; other work of the machine shows in that of "+
			"local transactions, which is %.2f", last.orders, ratio, first.orders, slower, local)
	}
	return nil
}

// sizesOfTables prints the size of each table that grew.
func (g *growth) sizesOfTables(ctx context.Context) error {
	rows, err := g.shop.root.QueryContext(ctx, `SELECT table_schema, table_name, table_rows, data_length / 1e6, index_length / 1e6
		FROM information_schema.tables WHERE table_schema LIKE 'shop\_%' ORDER BY data_length + index_length DESC`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	first, last := g.found[0].read, g.found[len(g.found)-1].read
	fmt.Printf("\n%-32s %12s %9s %9s %26s\n", "table", "rows, about", "MB", "index MB", "rows read a payment, then")
	for rows.Next() {
		var at [2]string
		var n int
		var data, index float64
		if err := rows.Scan(&at[0], &at[1], &n, &data, &index); err != nil {
			return err
		}
		if g.paid.has(at) {
			fmt.Printf("%-32s %12d %9.0f %9.0f %14.1f %11.1f\n", strings.Join(at[:], "."), n, data, index, first[at], last[at])
		}
	}
	return rows.Err()
}

// look listens to payments, one and many at a time, and checks how the database finds the rows of all that is said meanwhile.
func (g *growth) look(ctx context.Context) error {
	one, err := g.payments(ctx, g.counted/10)
	if err != nil {
		return err
	}
	many, err := g.payments(ctx, g.counted)
	if err != nil {
		return err
	}
	all, err := g.shop.listen(ctx, func() error {
		err := closed(ctx, 1, g.counted/10, time.Hour, one.pay, one.quiet).err
		err = errors.Join(err, closed(ctx, members, g.counted, time.Hour, many.pay, many.quiet).err)
		time.Sleep(3 * time.Second) // what looks for more each second
		return err
	})
	if err != nil {
		return err
	}
	plans, wrong := g.shop.plans(ctx, all, g.paid.tables)
	if g.verbose {
		for _, p := range plans {
			fmt.Printf("  %s  %s\n", p, p.extra)
		}
	}
	digests := map[said]bool{}
	for _, s := range all {
		digests[said{s.database, digest(s.text)}] = true
	}
	fmt.Printf("\n%d statements in %d forms, %d plans; those that change rows of what is paid:\n", len(all), len(digests), len(plans))
	for _, at := range [][2]string{{"shop_order", "orders"}, {"shop_credit", "credit_entry"}, {"shop_wms", "delivery_slip"}, {"shop_inventory", "stock_freeze"}} {
		heard := false
		for _, p := range plans {
			if p.database == at[0] && p.table == at[1] && p.access != "" && target.MatchString(p.text) {
				heard = true
				fmt.Printf("  %s\n", p)
			}
		}
		if !heard {
			wrong = errors.Join(wrong, fmt.Errorf("nothing was heard that changes %s.%s: this check does not see the payment's path", at[0], at[1]))
		}
	}
	return errors.Join(wrong, g.readThrough())
}

// readThrough returns an error when a payment in fact read many rows of a table that grew, whatever the plans say.
func (g *growth) readThrough() (err error) {
	for at, n := range g.found[len(g.found)-1].read {
		if n > few && g.paid.has(at) {
			err = errors.Join(err, fmt.Errorf("a payment reads %.0f rows of %s", n, strings.Join(at[:], ".")))
		}
	}
	return err
}
