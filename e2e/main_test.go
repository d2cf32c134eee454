// Package e2e_test pays orders through the gateway of a real stack: every service, the coordinator and the databases are
// processes of their own, on random ports, brought up as `make up` does it.
//
// Tests that change what all payments see (a fault, a closed warehouse, a dead process) are sequential; the others run in parallel after them.
package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"example.com/fourfold/deploy/local/stack"
)

var (
	shared   *stack.Stack
	operator *client
	traces   *collector
)

// lameDuck is longer than a gateway's /readyz, by which a flow finds out that the gateway is stopping, may take on a busy machine.
const lameDuck = "5s"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "fourfold-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if traces, err = startCollector(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = traces.server.Close() }()
	shared, err = stack.Up(ctx, stack.Options{Dir: dir, RandomPorts: true, Faults: true, Log: os.Stderr, Env: map[string]string{
		// All tests call from one address.
		"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0",
		// Tests count the points of payments; those of a sign-up come at any time. See TestMessages.
		"REGISTRATION_POINTS":         "0",
		"GATEWAY_LAME_DUCK":           lameDuck,
		"LIVE_BACKSTOP":               "1h", // see TestLiveStatus
		"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_BSP_SCHEDULE_DELAY": "500",
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bring the stack up:", err)
		return 1
	}
	defer func() {
		if err := shared.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "take the stack down:", err)
		}
	}()
	seeded, err := shared.Seed(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		return 1
	}
	if err := awaitFollowers(ctx, shared); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	operator = &client{base: shared.Gateway(), http: http.Client{Timeout: 15 * time.Second}}
	a, err := operator.try(ctx, "POST", "/v1/sessions", map[string]any{
		"login": seeded.Operator.Login, "password": seeded.Operator.Password,
	})
	if err != nil || a.code != http.StatusOK {
		fmt.Fprintln(os.Stderr, "operator signs in:", a.code, a.raw, err)
		return 1
	}
	operator.token = a.Body.AccessToken
	return m.Run()
}
