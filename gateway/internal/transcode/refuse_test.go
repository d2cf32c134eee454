package transcode_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	idempotencyv1 "example.com/fourfold/api/idempotency/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/gateway/internal/transcode"
)

func TestRequestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/products?page_siz=1", "", 400, "page_siz: this call has no such query parameter"},
		{"GET", "/v1/products?page_size=x", "", 400, "page_size: must be a whole number"},
		{"GET", "/v1/products?page_size=1&page_size=2", "", 400, "page_size: was given more than once"},
		{"GET", "/v1/products?q=%ff", "", 400, "q: is not valid UTF-8"},
		{"GET", "/v1/products/%ff", "", 400, "sku: is not valid UTF-8"},
		{"GET", "/v1/products/x?sku=y", "", 400, "sku: is not a query parameter"},
		{"GET", "/v1/ops/deliveries?status=LOST", "", 400, "status: must be one of UNKNOWN, CREATED"},
		{"GET", "/v1/ops/deliveries?status=&page_size=&order_id=", "", 200, ""},
		{"POST", "/v1/orders?lines=1", "{}", 400, "lines: this call has no such query parameter"},
		{"POST", "/v1/orders", `{"lines":[{"sku":"a","quantity":"two"}]}`, 400, "lines[0].quantity: must be a whole number"},
		{"POST", "/v1/orders", `{"lines":[{"sku":"a","price_cents":1}]}`, 400, "lines[0].price_cents: there is no such field"},
		{"POST", "/v1/orders", `{"lines":`, 400, "the body cannot be read: it is not JSON"},
		{"POST", "/v1/orders", `{"address":"` + strings.Repeat("a", transcode.MaxBody) + `"}`, 413, "the body has more than 65536 bytes"},
		{"POST", "/v1/orders/o1/pay", ``, 200, ""},
		{"POST", "/v1/orders/o1/pay", `{}`, 200, ""},
		{"POST", "/v1/orders/o1/pay", `{"id":"o2"}`, 400, "id: is taken from the path"},
	} {
		t.Run(c.method+c.path+c.body[:min(len(c.body), 50)], func(t *testing.T) {
			t.Parallel()
			s, front := open(t)
			req, err := http.NewRequestWithContext(t.Context(), c.method, front.URL+c.path, strings.NewReader(c.body))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			code, body := do(t, req)
			assert.Equal(t, c.code, code, body)
			assert.Contains(t, body, c.want)
			assert.Equal(t, c.code == 200, s.in != nil, "the service is called for valid requests only")
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err            error
		code           int
		reason, answer string
	}{
		"refused by the business": {kerrors.Conflict("STOCK_NOT_ENOUGH", "2 of 1"), 409, "STOCK_NOT_ENOUGH", "2 of 1"},
		"validation":              {kerrors.BadRequest("VALIDATOR", "validation error:\n - lines: too few"), 400, "VALIDATOR", "lines: too few"},
		"try later":               {kerrors.ServiceUnavailable("TRY_LATER", "nothing happened"), 503, "TRY_LATER", "nothing happened"},
		"internal":                {kerrors.InternalServer("BUG", "secret"), 500, "BUG", ""},
		"the proto's own":         {orderv1.ErrorOrderInvalid("no"), 400, "ORDER_INVALID", "no"},
		"a code that gRPC lacks":  {idempotencyv1.ErrorIdempotencyKeyReused("take a new one"), 422, "IDEMPOTENCY_KEY_REUSED", "a new one"},
		"no answer of the service": {
			fmt.Errorf("Error 1054: unknown column"), 500, "INTERNAL_SERVER_ERROR", ""},
		"unavailable": {status.Error(codes.Unavailable, "dial tcp 127.0.0.1:9001"), 503, "UPSTREAM_UNAVAILABLE", "order cannot be reached"},
		"late":        {context.DeadlineExceeded, 503, "UPSTREAM_TIMEOUT", "order did not answer in time"},
		"stopping":    {context.Canceled, 503, "UPSTREAM_UNAVAILABLE", "order cannot be reached"},
		"plain":       {status.Error(codes.NotFound, "nothing"), 404, "NOT_FOUND", "nothing"},
		"too large":   {status.Error(codes.ResourceExhausted, "received message larger than max"), 500, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, front := open(t)
			s.answer = func(grpc.ServerStream, proto.Message) (proto.Message, error) { return nil, c.err }
			req, err := http.NewRequestWithContext(t.Context(), "GET", front.URL+"/v1/orders/o1", nil)
			require.NoError(t, err)
			code, body := do(t, req)
			assert.Equal(t, c.code, code, body)
			var form struct{ Reason, Message string }
			require.NoError(t, json.Unmarshal([]byte(body), &form))
			assert.Equal(t, c.reason, form.Reason)
			if c.answer != "" {
				assert.Contains(t, form.Message, c.answer)
			}
			if c.code == 503 {
				assert.NotContains(t, form.Message, "127.0.0.1")
			}
		})
	}
}
