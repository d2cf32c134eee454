package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// run is what came of a window of load.
type run struct {
	// done and failed count the calls that ended.
	done, failed int
	// took is from the first call to the end of the last, drained until nothing was under way in the background either.
	took, drained time.Duration
	// times are those of the calls that did not fail, ascending.
	times []time.Duration
	// err is the first failure.
	err error
}

// rate is how many were done a second, until nothing was under way.
func (r run) rate() float64 { return float64(r.done) / r.drained.Seconds() }

// quantile returns the time that the share q of all calls did not exceed.
func (r run) quantile(q float64) time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return r.times[min(int(q*float64(len(r.times))), len(r.times)-1)]
}

// closed makes calls for a window, each of workers one after another, until calls are used up: call gets the numbers from 0 to calls - 1. It
// then waits for drain.
func closed(ctx context.Context, workers, calls int, window time.Duration, call func(ctx context.Context, worker, i int) error,
	drain func(context.Context) error) run {
	var next atomic.Int64
	return load(ctx, workers, drain, func() (int, time.Time, bool) {
		i := int(next.Add(1)) - 1
		return i, time.Now(), i < calls
	}, window, call)
}

// steady makes calls at a rate, by as many workers as it needs up to workers. The time of a call is from when it should have begun.
func steady(ctx context.Context, workers, calls int, perSecond float64, call func(ctx context.Context, worker, i int) error,
	drain func(context.Context) error) run {
	var next atomic.Int64
	began := time.Now()
	return load(ctx, workers, drain, func() (int, time.Time, bool) {
		i := int(next.Add(1)) - 1
		due := began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		if i < calls {
			time.Sleep(time.Until(due))
		}
		return i, due, i < calls
	}, time.Hour, call)
}

func load(ctx context.Context, workers int, drain func(context.Context) error, take func() (i int, began time.Time, ok bool),
	window time.Duration, call func(ctx context.Context, worker, i int) error) run {
	var (
		r  run
		mu sync.Mutex
		wg sync.WaitGroup
	)
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			for time.Since(start) < window && ctx.Err() == nil {
				i, began, ok := take()
				if !ok {
					return
				}
				err := call(ctx, w, i)
				took := time.Since(began)
				mu.Lock()
				if err == nil {
					r.done++
					r.times = append(r.times, took)
				} else {
					r.failed++
					if r.err == nil {
						r.err = err
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r.took = time.Since(start)
	if err := drain(ctx); err != nil && r.err == nil {
		r.err = err
	}
	r.drained = time.Since(start)
	slices.Sort(r.times)
	return r
}
