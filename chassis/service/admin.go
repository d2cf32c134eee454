package service

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/fourfold/chassis/failpoint"
)

// admin serves the private port of a service: its probes, metrics and faults.
type admin struct {
	*http.ServeMux
	probes *http.ServeMux
	checks []check
	less   map[string]func() string
}

type check struct {
	name string
	run  func(context.Context) error
}

func newAdmin(faults bool) *admin {
	a := &admin{ServeMux: http.NewServeMux(), probes: http.NewServeMux(), less: map[string]func() string{}}
	a.probes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	a.probes.HandleFunc("GET /readyz", a.readyz)
	a.probes.Handle("GET /metrics", promhttp.Handler())
	a.Handle("/", a.probes)
	if faults {
		failpoint.Allow()
		a.Handle("/faults", failpoint.Handler())
	}
	return a
}

func (a *admin) ready(name string, run func(context.Context) error) {
	a.checks = append(a.checks, check{name, run})
}

func (a *admin) degraded(name string, why func() string) { a.less[name] = why }

// readyz answers 200, or 503 with the checks that failed and why. The checks run concurrently, so that a slow one does not delay the others.
func (a *admin) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		failed = map[string]string{}
	)
	for _, c := range a.checks {
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[c.name] = err.Error()
			}
		})
	}
	wg.Wait()
	w.Header().Set("Content-Type", "application/json")
	if len(failed) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	answer := map[string]any{"ready": len(failed) == 0, "failed": failed}
	degraded := map[string]string{}
	for name, why := range a.less {
		if reason := why(); reason != "" {
			degraded[name] = reason
		}
	}
	if len(degraded) > 0 {
		answer["degraded"] = degraded
	}
	_ = json.NewEncoder(w).Encode(answer)
}
