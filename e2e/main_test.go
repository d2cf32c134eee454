// Package e2e_test pays orders through the gateway of a real stack: every service, the coordinator and the databases are
// processes of their own, on random ports, brought up as `make up` does it.
//
// Tests that change what all payments see (a fault, a closed warehouse, a dead process) are sequential; the others run in parallel after them.
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/fourfold/deploy/local/stack"
	"example.com/fourfold/deploy/system"
)

var (
	// target is the system under test, and operator a client of it.
	target   system.Target
	operator *client
	// shared is the stack under test, nil when TARGET names a system that is up.
	shared *stack.Stack
	traces *collector
)

// lameDuck is longer than a gateway's /readyz, by which a flow finds out that the gateway is stopping, may take on a busy machine.
const lameDuck = "5s"

// anywhere are the tests that need no process of their own: with TARGET=FOLDER of a demo.json they run on a system that is up, however that was
// brought up, with LIMIT_CALLS=0, LIMIT_STRANGERS=0, LIMIT_ADDRESSES=0 and REGISTRATION_POINTS=0.
var anywhere = []string{"TestTheNumbers", "TestCreditRefuses", "TestInventoryRefuses", "TestWarehouseRefuses", "TestTwentyPayAtOnce",
	"TestOrderIsTriedFirst", "TestCancelBeforePayment", "TestLinesOfTheSameProduct", "TestSomebodyElsesOrder", "TestReceiveStockOnce",
	"TestIdempotencyKey", "TestRefund", "TestWarehouseWork", "TestSpentPointsAreNotRefunded", "TestRefundAgainstPick", "TestFiftyShoppersTenUnits",
	"TestLiveStatus", "TestHostileRequests", "TestNoSuchRoute", "TestSameKeyInProgress", "TestTotalTooLarge"}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	prepare := bringUp
	if dir := os.Getenv("TARGET"); dir != "" {
		prepare = func(context.Context) (down func(), err error) {
			target, err = system.ReadTarget(dir)
			return func() {}, errors.Join(err, flag.Set("test.run", "^("+strings.Join(anywhere, "|")+")$"))
		}
	}
	down, err := prepare(ctx)
	if down != nil {
		defer down()
	}
	if err == nil {
		err = signInOperator(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// bringUp brings a stack up for all tests.
func bringUp(ctx context.Context) (down func(), err error) {
	dir, err := os.MkdirTemp("", "fourfold-e2e-")
	if err != nil {
		return nil, err
	}
	if traces, err = startCollector(); err != nil {
		return nil, err
	}
	down = func() {
		if shared != nil {
			if err := shared.Down(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, "take the stack down:", err)
			}
		}
		_, _ = traces.server.Close(), os.RemoveAll(dir)
	}
	shared, err = stack.Up(ctx, stack.Options{Dir: dir, RandomPorts: true, Faults: true, Log: os.Stderr, Env: map[string]string{
		// All tests call from one address.
		"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0", "LIMIT_ADDRESSES": "0",
		// Tests count the points of payments; those of a sign-up come at any time. See TestMessages.
		"REGISTRATION_POINTS":         "0",
		"GATEWAY_LAME_DUCK":           lameDuck,
		"LIVE_BACKSTOP":               "1h", // see TestLiveStatus
		"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_BSP_SCHEDULE_DELAY": "500",
	}})
	if err != nil {
		return down, fmt.Errorf("bring the stack up: %w", err)
	}
	if target, err = shared.Seed(ctx); err != nil {
		return down, fmt.Errorf("seed: %w", err)
	}
	return down, awaitFollowers(ctx, shared)
}

// signInOperator signs the operator in.
func signInOperator(ctx context.Context) error {
	operator = anonymous()
	a, err := operator.try(ctx, "POST", "/v1/sessions", map[string]any{"login": target.Operator.Login, "password": target.Operator.Password})
	if err != nil || a.code != http.StatusOK {
		return fmt.Errorf("the operator signs in: %d %s: %w", a.code, a.raw, err)
	}
	operator.token = a.Body.AccessToken
	return nil
}
