package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/gateway/internal/live"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

const anOrder = `{"lines":[{"sku":"sku-demo","quantity":2}]}`

func TestThroughTheDoor(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := s.call(t, "POST", "/v1/orders", s.token(t, "m1", accessv1.Shopper), anOrder)
	assert.Equal(t, 201, a.code)
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	assert.JSONEq(t,
		`{"id":"o1","status":"CREATED","reason":"","total_cents":1000,"points":0,"lines":[],"address":"","member_id":"m1","version":0}`, a.body)

	a = s.call(t, "GET", "/v1/products/sku-demo", "", "")
	assert.Equal(t, 200, a.code)
	assert.JSONEq(t, `{"sku":"sku-demo","name":"","price_cents":500,"sellable":98}`, a.body)
}

// TestTurnedAwayEarly tests that the services never see a call that the gateway turns away, and that the reasons are theirs.
func TestTurnedAwayEarly(t *testing.T) {
	t.Parallel()
	s := open(t)
	shopper, operator := s.token(t, "m1", accessv1.Shopper), s.token(t, "m2", accessv1.Operator)
	expired, err := s.signer.Sign(identity.Caller{MemberID: "m1", Role: accessv1.Shopper}, time.Now().Add(-2*time.Hour), time.Hour)
	require.NoError(t, err)
	for _, c := range []struct {
		method, path, token string
		code                int
		reason              string
	}{
		{"GET", "/v1/orders/o1", "", 401, "TOKEN_MISSING"},
		{"GET", "/v1/orders/o1", "garbage", 401, "TOKEN_INVALID"},
		{"GET", "/v1/orders/o1", expired, 401, "TOKEN_INVALID"},
		{"GET", "/v1/products/x", "garbage", 401, "TOKEN_INVALID"},
		{"PUT", "/v1/ops/warehouse", shopper, 403, "OPERATOR_ONLY"},
		{"PUT", "/v1/ops/warehouse", "", 401, "TOKEN_MISSING"},
		// Before the body is read.
		{"POST", "/v1/orders", "", 401, "TOKEN_MISSING"},
	} {
		a := s.call(t, c.method, c.path, c.token, `{"nonsense":`)
		assert.Equal(t, c.code, a.code, "%+v: %s", c, a.body)
		assert.Equal(t, c.reason, a.Reason)
	}
	assert.Zero(t, s.shop.calls.Load())
	assert.Equal(t, 200, s.call(t, "PUT", "/v1/ops/warehouse", operator, `{"open":true}`).code)
	assert.Equal(t, 200, s.call(t, "GET", "/v1/orders/o1", shopper, "").code)
}

// TestMessagesOfAllServices tests that every service is asked about its messages, with the operator's own token, and that the answer has the one
// form.
func TestMessagesOfAllServices(t *testing.T) {
	t.Parallel()
	s := open(t)
	operator := s.token(t, "m2", accessv1.Operator)
	assert.Equal(t, "TOKEN_MISSING", s.call(t, "GET", "/v1/ops/dead-letters", "", "").Reason)
	assert.Equal(t, "OPERATOR_ONLY", s.call(t, "POST", "/v1/ops/dead-letters/redrive", s.token(t, "m1", accessv1.Shopper), "").Reason)
	assert.Zero(t, s.shop.calls.Load())
	a := s.call(t, "GET", "/v1/ops/dead-letters?page_size=6", operator, "")
	assert.Equal(t, 200, a.code, a.body)
	assert.Equal(t, len(upstream.Services()), strings.Count(a.body, `"id":"wms-1"`))
	assert.Contains(t, a.body, `"unreachable":[]`)
	a = s.call(t, "GET", "/v1/ops/dead-letters?page_token=x", operator, "")
	assert.Equal(t, 400, a.code)
	assert.Equal(t, "MESSAGES_INVALID", a.Reason)
	a = s.call(t, "GET", "/v1/ops/dead-letters?page_size=101", operator, "")
	assert.Equal(t, 400, a.code)
	assert.Equal(t, "VALIDATOR", a.Reason)
	a = s.call(t, "POST", "/v1/ops/dead-letters/nobody-1/discard", operator, "")
	assert.Equal(t, 404, a.code)
	assert.Equal(t, "DEAD_LETTER_NOT_FOUND", a.Reason)
	a = s.call(t, "POST", "/v1/ops/resend", operator, `{"service":"nobody","since":"2026-11-29T00:00:00Z"}`)
	assert.Equal(t, 404, a.code)
	assert.Equal(t, "SERVICE_NOT_FOUND", a.Reason)
	for path, body := range map[string]string{"/v1/ops/replay": `{"topic":"t","group":"g","from":"yesterday"}`,
		"/v1/ops/resend": `{"service":"order","since":17}`} {
		assert.Equal(t, "OPERATOR_ONLY", s.call(t, "POST", path, s.token(t, "m1", accessv1.Shopper), body).Reason)
		a = s.call(t, "POST", path, operator, body)
		assert.Equal(t, 400, a.code)
		assert.Contains(t, a.body, `must be a Timestamp as protobuf writes it in JSON: \"2026-01-31T08:00:00Z\"`)
	}
	assert.Equal(t, "OPERATOR_ONLY", s.call(t, "GET", "/v1/ops/mq", s.token(t, "m1", accessv1.Shopper), "").Reason)
	for _, body := range []string{`{"mode":"DEGRADED"}`, `{"reason":"r"}`, `{"mode":"DRAINING","reason":"r"}`,
		`{"mode":"FORCE_UNSPECIFIED","reason":"r"}`} {
		assert.Equal(t, "OPERATOR_ONLY", s.call(t, "POST", "/v1/ops/mq", s.token(t, "m1", accessv1.Shopper), body).Reason)
		assert.Equal(t, 400, s.call(t, "POST", "/v1/ops/mq", operator, body).code, body)
	}
	s.shop.stop()
	for _, path := range []string{"/v1/ops/dead-letters", "/v1/ops/dead-letters/notify-1", "/v1/ops/messages?order_id=o1", "/v1/ops/mq"} {
		a = s.call(t, "GET", path, operator, "")
		assert.Equal(t, 503, a.code)
		assert.Equal(t, "TRY_LATER", a.Reason)
		assert.Equal(t, "2", a.header.Get("Retry-After"))
		assert.NotContains(t, a.body, s.shop.addr)
	}
}

func TestErrorForm(t *testing.T) {
	t.Parallel()
	s := open(t)
	token := s.token(t, "m1", accessv1.Shopper)
	for _, c := range []struct {
		method, path, body string
		code               int
		reason, message    string
	}{
		{"GET", "/v1/nothing", "", 404, "ROUTE_NOT_FOUND", "/v1/nothing"},
		{"GET", "/", "", 404, "ROUTE_NOT_FOUND", "see /docs"},
		{"GET", "/v1/orders/", "", 404, "ROUTE_NOT_FOUND", ""},
		{"GET", "/docs/nothing", "", 404, "ROUTE_NOT_FOUND", ""},
		{"POST", "/v1/orders//pay", "", 404, "ROUTE_NOT_FOUND", "/v1/orders//pay"},
		{"POST", "/v1/./orders", "", 404, "ROUTE_NOT_FOUND", ""},
		{"GET", "/v1/products/..%2forders", "", 404, "ROUTE_NOT_FOUND", ""},
		{"GET", "//", "", 404, "ROUTE_NOT_FOUND", ""},
		{"DELETE", "/v1/orders", "", 405, "METHOD_NOT_ALLOWED", "GET, POST, HEAD is"},
		{"GET", "/v1/orders/o1/pay", "", 405, "METHOD_NOT_ALLOWED", "POST is"},
		{"POST", "/docs", "", 405, "METHOD_NOT_ALLOWED", "GET, HEAD is"},
		{"POST", "/v1/orders", `{"lines":[{"sku":"a","quantity":true}]}`, 400, "FIELD_INVALID", "lines[0].quantity"},
		{"POST", "/v1/orders", `{"lines":[{"sku":"a","quantity":0}]}`, 400, "VALIDATOR", "lines[0].quantity"},
		{"POST", "/v1/orders", `{"lines":[]}`, 400, "VALIDATOR", "lines"},
		{"POST", "/v1/orders", `{`, 400, "BODY_INVALID", "JSON"},
		{"POST", "/v1/orders", `{"address":"` + strings.Repeat("x", transcode.MaxBody) + `"}`, 413, "BODY_TOO_LARGE", "65536"},
		{"GET", "/v1/orders", "", 500, "INTERNAL", "internal error, look for request id"}, // not implemented by the shop
	} {
		a := s.call(t, c.method, c.path, token, c.body)
		assert.Equal(t, c.code, a.code, "%+v: %s", c, a.body)
		assert.Equal(t, c.reason, a.Reason, "%+v", c)
		assert.Contains(t, a.Message, c.message)
		assert.NotEmpty(t, a.header.Get("X-Request-Id"))
	}
	assert.Equal(t, "GET, POST, HEAD", s.call(t, "DELETE", "/v1/orders", token, "").header.Get("Allow"))
}

// TestInternalErrorsAreHidden tests that internal causes are only logged: the client gets the id to find them by.
func TestInternalErrorsAreHidden(t *testing.T) {
	t.Parallel()
	secret := "Error 1146: Table 'shop_order.orders' doesn't exist at 10.1.2.3:3306"
	for name, fail := range map[string]func() error{
		"plain": func() error { return errors.New(secret) },
		"kratos": func() error {
			return kerrors.InternalServer("DB", secret).WithMetadata(map[string]string{"sql": secret})
		},
		"wrapped": func() error { return fmt.Errorf("%s: %w", secret, context.DeadlineExceeded) },
		"panic":   func() error { panic(secret) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.shop.get = func(context.Context, *orderv1.GetOrderRequest) (*orderv1.Order, error) { return nil, fail() }
			a := s.call(t, "GET", "/v1/orders/o1", s.token(t, "m1", accessv1.Shopper), "", "X-Request-Id", "req-17")
			assert.GreaterOrEqual(t, a.code, 500)
			assert.NotContains(t, a.body, "1146")
			assert.NotContains(t, a.body, "10.1.2.3")
			assert.Equal(t, "req-17", a.header.Get("X-Request-Id"))
			assert.Contains(t, s.log.String(), "req-17")
			if a.code == 500 {
				assert.Equal(t, "internal error, look for request id req-17 in the logs", a.Message)
			}
			if name == "plain" || name == "kratos" {
				assert.Contains(t, s.log.String(), "1146", "the log has the cause")
			}
		})
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	var cfg config
	limited(&cfg)
	logged := &log{}
	srv, err := newServer(cfg, parts{
		log: slog.New(slog.NewTextHandler(logged, nil)), verifier: identity.NewVerifier(nil), metrics: prometheus.NewRegistry(),
		limiter:   nil, // panics when used
		stopping:  func() bool { return false },
		upstreams: []transcode.Upstream{{File: upstream.Files()[1]}},
		streams:   &live.Streams{},
	})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", "/v1/products/x", nil))
	assert.Equal(t, 500, w.Code)
	assert.Contains(t, w.Body.String(), "internal error, look for request id "+w.Header().Get("X-Request-Id"))
}

func TestRequestIDIsMadeOrKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	seen := map[string]bool{}
	for _, sent := range []string{"", "", "with space", strings.Repeat("a", 65), "<script>"} {
		id := s.call(t, "GET", "/v1/products/x", "", "", "X-Request-Id", sent).header.Get("X-Request-Id")
		assert.Regexp(t, `^[A-Z0-9]{20,}$`, id)
		assert.False(t, seen[id])
		seen[id] = true
	}
	assert.Equal(t, "abc-1.2_3", s.call(t, "GET", "/v1/nothing", "", "", "X-Request-Id", "abc-1.2_3").header.Get("X-Request-Id"))
}

func TestServiceDownAndBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Equal(t, 200, s.call(t, "GET", "/v1/products/x", "", "").code)
	s.shop.stop()
	a := s.call(t, "GET", "/v1/products/x", "", "")
	assert.Equal(t, 503, a.code)
	assert.Equal(t, "UPSTREAM_UNAVAILABLE", a.Reason)
	assert.Contains(t, a.Message, "inventory")
	assert.Equal(t, "1", a.header.Get("Retry-After"))
	assert.NotContains(t, a.body, s.shop.addr)

	a = s.call(t, "POST", "/v1/orders", s.token(t, "m1", accessv1.Shopper), anOrder)
	assert.Equal(t, 503, a.code)
	assert.Contains(t, a.Message, "may have happened or not")

	for range 3 { // the connection is lost, redials fail, and back off
		require.Equal(t, 503, s.call(t, "GET", "/v1/products/x", "", "").code)
	}
	s.shop.start(t)
	assert.Eventually(t, func() bool { return s.call(t, "GET", "/v1/products/x", "", "").code == 200 }, 700*time.Millisecond,
		50*time.Millisecond,
		"a service that is back is used at once, not after gRPC's own pause")
}

func TestServiceLate(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *config) { c.HTTP.Timeout = 100 * time.Millisecond })
	s.shop.get = func(ctx context.Context, _ *orderv1.GetOrderRequest) (*orderv1.Order, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a := s.call(t, "GET", "/v1/orders/o1", s.token(t, "m1", accessv1.Shopper), "")
	assert.Equal(t, 503, a.code)
	assert.Equal(t, "UPSTREAM_TIMEOUT", a.Reason)
	assert.NotEmpty(t, a.header.Get("Retry-After"))
}

func TestRetryAfterOfAService(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.shop.get = func(context.Context, *orderv1.GetOrderRequest) (*orderv1.Order, error) {
		return nil, orderv1.ErrorTryLater("the coordinator is away").WithMetadata(map[string]string{"retry_after": "7"})
	}
	a := s.call(t, "GET", "/v1/orders/o1", s.token(t, "m1", accessv1.Shopper), "")
	assert.Equal(t, 503, a.code)
	assert.Equal(t, "TRY_LATER", a.Reason)
	assert.Equal(t, "the coordinator is away", a.Message)
	assert.Equal(t, "7", a.header.Get("Retry-After"))
}

func TestProbesAndPages(t *testing.T) {
	t.Parallel()
	s := open(t, limited)
	for _, path := range []string{"/healthz", "/readyz"} {
		for range 20 { // no limit
			a := s.call(t, "GET", path, "", "")
			require.Equal(t, 200, a.code)
			require.Equal(t, "probe "+path, a.body)
		}
	}
	for _, private := range []string{"/faults", "/metrics", "/debug"} {
		assert.Equal(t, 404, s.call(t, "GET", private, "", "").code, "%s is on the admin port only", private)
	}
	a := s.call(t, "GET", "/openapi.yaml", "", "")
	assert.Equal(t, 200, a.code)
	assert.Equal(t, "application/yaml", a.header.Get("Content-Type"))
	assert.True(t, strings.HasPrefix(a.body, "# Made from the protos"))
	assert.Equal(t, http.StatusNotModified, s.call(t, "GET", "/openapi.yaml", "", "", "If-None-Match", a.header.Get("ETag")).code)
}
