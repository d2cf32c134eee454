// Command bench measures payments against one local transaction with the same row changes, and against two other ways to make them in four
// databases: XA, and DTM as in its examples. It brings up a stack of its own.
//
//	bench [-rounds 3] [-window 6s] [-at 1,16,64]
//
// It prints how many payments a second each way makes, and what a payment costs. It fails when the books do not add up after a run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

func main() {
	b := bench{}
	flag.IntVar(&b.rounds, "rounds", 3, "how often everything is measured, one after another")
	flag.DurationVar(&b.window, "window", 6*time.Second, "how long each is measured")
	flag.IntVar(&b.counted, "counted", 200, "of how many payments the cost is counted")
	at := flag.String("at", "1,16,64", "how many payments are made at a time")
	flag.Parse()
	for n := range strings.SplitSeq(*at, ",") {
		workers, err := strconv.Atoi(n)
		if err != nil || workers < 1 || workers > members {
			fmt.Fprintf(os.Stderr, "bench: -at %s: numbers from 1 to %d with commas between\n", *at, members)
			os.Exit(2)
		}
		b.at = append(b.at, workers)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}
