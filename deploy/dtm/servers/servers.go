// Package servers keeps track of what DTM starts and forgets: its two servers, and the work on transactions that goes on after an answer.
// build.sh replaces DTM's own calls by calls of this package, so that Stop can end all of it in an orderly way.
package servers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Credentials are for the gRPC server and for the connections to the branches. Set them before anything is started.
var Credentials credentials.TransportCredentials

// LongestRetry is the longest pause before a Confirm or Cancel that failed is tried again. Set it before anything is started.
var LongestRetry time.Duration

// DTM starts everything by one function that returns nothing, so what is running is kept here.
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

// Behind counts the work on a transaction that goes on after the answer to its caller. Call done when it ends.
func Behind() (done func()) {
	behind.Add(1)
	return behind.Done
}

// Stop takes no new calls, answers those under way, and waits for the work that goes on after answers. When ctx ends first, it returns ctx's
// error: unfinished work is in the log, and another instance or the next start goes on with it.
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
		behind.Wait() // nothing is added any more
	}()
	select {
	case <-finished:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
