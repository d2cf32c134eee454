package service

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/fourfold/chassis/failpoint"
)

// admin is the private port of a service.
type admin struct {
	*http.ServeMux
	checks []check
}

type check struct {
	name string
	run  func(context.Context) error
}

func newAdmin(faults bool) *admin {
	a := &admin{ServeMux: http.NewServeMux()}
	a.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	a.HandleFunc("GET /readyz", a.readyz)
	a.Handle("GET /metrics", promhttp.Handler())
	if faults {
		failpoint.Allow()
		a.Handle("/faults", failpoint.Handler())
	}
	return a
}

func (a *admin) ready(name string, run func(context.Context) error) {
	a.checks = append(a.checks, check{name, run})
}

// readyz answers 200, or 503 with the check that failed and why.
func (a *admin) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	failed := map[string]string{}
	for _, c := range a.checks {
		if err := c.run(ctx); err != nil {
			failed[c.name] = err.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if len(failed) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(failed) == 0, "failed": failed})
}
