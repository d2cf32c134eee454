// Package servers keeps hold of what DTM starts and forgets: its two servers, and the transactions it goes on with behind an
// answer. build.sh puts calls of this package into DTM in the place of its own, so that Stop can end all of it in an orderly way.
package servers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"google.golang.org/grpc"
)

// DTM starts everything by one function that gives nothing back, so what is running is kept here.
var (
	mu     sync.Mutex
	admin  *http.Server
	calls  *grpc.Server
	behind sync.WaitGroup
)

// HTTP serves the admin port until Stop; then it returns nil.
func HTTP(h http.Handler, addr string) error {
	s := &http.Server{Addr: addr, Handler: h}
	mu.Lock()
	admin = s
	mu.Unlock()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// GRPC serves s until Stop; then it returns nil.
func GRPC(s *grpc.Server, lis net.Listener) error {
	mu.Lock()
	calls = s
	mu.Unlock()
	return s.Serve(lis)
}

// Behind counts the work on a transaction that goes on behind the answer to its caller; done ends it.
func Behind() (done func()) {
	behind.Add(1)
	return behind.Done
}

// Stop takes no new calls, answers those under way, and waits for the work behind answers. When ctx ends first it returns its
// error: what is not finished then is in the log, and another instance or the next start goes on with it.
func Stop(ctx context.Context) error {
	mu.Lock()
	h, g := admin, calls
	mu.Unlock()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		var wg sync.WaitGroup
		if g != nil {
			wg.Go(g.GracefulStop)
		}
		if h != nil {
			wg.Go(func() { _ = h.Shutdown(ctx) })
		}
		wg.Wait()
		behind.Wait() // nobody adds any more
	}()
	select {
	case <-finished:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
