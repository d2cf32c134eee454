// Command bench measures payments against one local transaction with the same row changes, and against two other ways to make them in four
// databases: XA, and DTM as in its examples. It brings up a stack of its own.
//
//	bench [-rounds 3] [-window 6s] [-at 1,16,64] [-only payments|around]
//	bench -growth [-sizes 1000,100000,1000000] [-timers 1000000] [-plans]
//
// It prints how many payments a second each way makes, what is around a payment in the same way (sign-ups, orders, pages), and what a payment
// costs. It fails when the books do not add up after a run, or a sign-up was not followed once.
//
// With -growth it prints how fast payments are with more and more orders and timers in the tables. It fails when they are much slower with the
// most, and when a query on their path then reads a table that grows through.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	b := bench{}
	flag.IntVar(&b.rounds, "rounds", 3, "how often everything is measured, one after another")
	flag.DurationVar(&b.window, "window", 6*time.Second, "how long each is measured")
	flag.IntVar(&b.counted, "counted", 200, "of how many payments the cost is counted")
	flag.DurationVar(&b.around, "around", 2500*time.Millisecond, "how long each is measured of what is around the payment")
	flag.StringVar(&b.only, "only", "", "payments: without what is around them; around: without payments")
	at := flag.String("at", "1,16,64", "how many payments are made at a time")
	g := growth{bench: &b}
	grow := flag.Bool("growth", false, "instead measure payments as the tables grow")
	sizes := flag.String("sizes", "1000,100000,1000000", "with -growth: how many paid orders there are, thousands, ascending")
	flag.IntVar(&g.timers, "timers", 1_000_000, "with -growth: how many timers are armed at last, thousands")
	flag.BoolVar(&g.verbose, "plans", false, "with -growth: print all plans, not only the wrong ones")
	flag.Parse()
	var ok bool
	if b.at, ok = numbers(*at, func(n int) bool { return n >= 1 && n <= members }); !ok {
		wrong("-at %s: numbers from 1 to %d with commas between", *at, members)
	}
	thousands := func(n int) bool { return n >= originals && n%originals == 0 }
	if g.sizes, ok = numbers(*sizes, thousands); !ok || !slices.IsSorted(g.sizes) || !thousands(g.timers) {
		wrong("-sizes %s -timers %d: multiples of %d, those with commas between ascending", *sizes, g.timers, originals)
	}
	if b.only != "" && b.only != onlyPayments && b.only != onlyAround {
		wrong("-only %s: %s or %s", b.only, onlyPayments, onlyAround)
	}
	do := b.run
	if *grow {
		do = g.run
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// numbers returns the numbers of a list with commas between. It is not ok when one of them is not.
func numbers(list string, ok func(int) bool) (all []int, _ bool) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || !ok(n) {
			return nil, false
		}
		all = append(all, n)
	}
	return all, true
}

// wrong ends the command because of a flag.
func wrong(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	os.Exit(2)
}
