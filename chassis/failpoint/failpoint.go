// Package failpoint lets a demonstration or a test make a process crash, wait or fail at a named point of a protocol.
//
// A point costs one atomic load while nothing is set, and nothing can be set unless the process was started with faults
// allowed.
package failpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrInjected is the error of a point set to "error".
var ErrInjected = errors.New("injected fault")

var (
	allowed atomic.Bool
	active  atomic.Bool
	mu      sync.Mutex
	points  = map[string]*action{}
	hits    = map[string]int{}
)

type action struct {
	text    string // as it was set
	kind    string // text without *2
	delay   time.Duration
	left    int           // how many hits it applies to, below 0 for all
	cleared chan struct{} // closed when the point is set anew or cleared: ends a pause
}

// Allow lets points be set in this process.
func Allow() { allowed.Store(true) }

// Set makes point do what text says:
//
//	crash      the process kills itself with SIGKILL
//	error      Hit returns ErrInjected
//	delay(2s)  Hit returns after 2 s
//	pause      Hit returns when the point is cleared
//	(empty)    cleared
//
// "crash*1", "error*2" and the like apply to so many hits only, the first. Set fails, and changes nothing, when faults are not allowed in this process or text is
// none of these.
func Set(point, text string) error {
	if !allowed.Load() {
		return errors.New("faults are not allowed in this process: start it with FAULTS=true")
	}
	var a *action
	if text != "" {
		var err error
		if a, err = parse(text); err != nil {
			return fmt.Errorf("point %s: %w", point, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if old, ok := points[point]; ok {
		close(old.cleared)
		delete(points, point)
	}
	if a != nil {
		points[point] = a
	}
	active.Store(len(points) > 0)
	return nil
}

func parse(text string) (*action, error) {
	kind, times, limited := strings.Cut(text, "*")
	a := &action{text: text, kind: kind, left: -1, cleared: make(chan struct{})}
	if limited {
		var err error
		if a.left, err = strconv.Atoi(times); err != nil || a.left < 1 {
			return nil, fmt.Errorf("%q: after * comes how many hits it applies to, at least 1", text)
		}
	}
	switch {
	case kind == "crash", kind == "error", kind == "pause":
	case strings.HasPrefix(kind, "delay(") && strings.HasSuffix(kind, ")"):
		var err error
		if a.delay, err = time.ParseDuration(kind[len("delay(") : len(kind)-1]); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%q is not crash, error, pause or delay(1s), with *2 for the first two hits", text)
	}
	return a, nil
}

// Hit does what point is set to, by default nothing. It returns ErrInjected for "error", ctx's error when ctx ends during a delay or a pause,
// and else nil.
func Hit(ctx context.Context, point string) error {
	if !active.Load() {
		return nil
	}
	mu.Lock()
	a, ok := points[point]
	hit := ok && a.left != 0
	if hit {
		hits[point]++
		a.left--
	}
	mu.Unlock()
	if !hit {
		return nil
	}
	slog.WarnContext(ctx, "failpoint", "point", point, "action", a.text)
	switch a.kind {
	case "crash":
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		select {}
	case "error":
		return fmt.Errorf("%w at %s", ErrInjected, point)
	case "pause":
		select {
		case <-a.cleared:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	default:
		select {
		case <-time.After(a.delay):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Handler returns a handler that lists the set points on GET as {"points": {name: action}, "hits": {name: count}}, and on PUT sets those of the
// body {name: action}; an empty action clears a point.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
		case http.MethodPut:
			var set map[string]string
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&set); err != nil {
				http.Error(w, "body: {\"point\": \"action\"}: "+err.Error(), http.StatusBadRequest)
				return
			}
			for point, text := range set {
				if err := Set(point, text); err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
			}
		default:
			http.Error(w, "GET or PUT", http.StatusMethodNotAllowed)
			return
		}
		mu.Lock()
		texts := make(map[string]string, len(points))
		for point, a := range points {
			if a.left != 0 {
				texts[point] = a.text
			}
		}
		counts := maps.Clone(hits)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"points": texts, "hits": counts})
	})
}
