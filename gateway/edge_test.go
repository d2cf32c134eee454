package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

// routes are all of the API.
func routes(t *testing.T) []transcode.Route {
	t.Helper()
	all, err := transcode.Routes(upstream.Files()...)
	require.NoError(t, err)
	return all
}

// TestQueriesAreReadWhole: a parameter that cannot be read is 400 and named, at every route; it is not left out, which would leave out a filter.
func TestQueriesAreReadWhole(t *testing.T) {
	t.Parallel()
	s := open(t)
	operator := s.token(t, "m2", accessv1.Operator)
	tried := 0
	for _, r := range routes(t) {
		if r.Method != http.MethodGet {
			continue
		}
		path := strings.NewReplacer("{", "", "}", "").Replace(r.Path)
		for i := range r.RPC.Input().Fields().Len() {
			f := r.RPC.Input().Fields().Get(i)
			name := string(f.Name())
			if f.Kind() == protoreflect.MessageKind || strings.Contains(r.Path, "{"+name+"}") {
				continue
			}
			for _, text := range []string{"50%", "%zz", "%", "a;b", ";", "%C3%28", "a%0", "x&" + name + "=%zz"} {
				a := s.call(t, "GET", path+"?"+name+"="+text, operator, "")
				assert.Equal(t, 400, a.code, "%s?%s=%s: %s", path, name, text, a.body)
				assert.Equal(t, "FIELD_INVALID", a.Reason)
				assert.Equal(t, name, a.Metadata["field"], "%s?%s=%s", path, name, text)
				tried++
			}
		}
		for _, query := range []string{"%zz=1", "x=a;b", "%ff", ";"} {
			assert.Equal(t, 400, s.call(t, "GET", path+"?"+query, operator, "").code, "%s?%s", path, query)
		}
	}
	assert.Greater(t, tried, 100)
	assert.Zero(t, s.shop.calls.Load(), "no service was asked")
	assert.Equal(t, 200, s.call(t, "GET", "/v1/products/x?&", "", "").code)
}

// TestHead: what can be read by GET has HEAD, with the same headers and no content; what cannot has not.
func TestHead(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.shop.get = (&row{}).get
	operator := s.token(t, "m2", accessv1.Operator)
	paths := []string{"/docs", "/openapi.yaml", "/docs/page.js", "/healthz", "/readyz", "/v1/orders/o1/events"}
	for _, r := range routes(t) {
		if r.Method == http.MethodGet {
			paths = append(paths, strings.NewReplacer("{", "", "}", "").Replace(r.Path))
		}
	}
	for _, path := range paths {
		get, head := s.call(t, "GET", path, operator, ""), s.call(t, "HEAD", path, operator, "")
		assert.Equal(t, get.code, head.code, path)
		assert.Empty(t, head.body, path)
		for _, name := range []string{"Content-Type", "Content-Length", "Etag", "Cache-Control"} {
			if get.code < 500 || name != "Content-Length" { // whose text has the request's id
				assert.Equal(t, get.header.Get(name), head.header.Get(name), "%s: %s", path, name)
			}
		}
	}
	refused := s.call(t, "HEAD", "/v1/orders/o1/pay", operator, "")
	assert.Equal(t, 405, refused.code)
	assert.Equal(t, "POST", refused.header.Get("Allow"))
	assert.Equal(t, "GET, POST, HEAD", s.call(t, "DELETE", "/v1/orders", operator, "").header.Get("Allow"))
}

// TestHeadOfAStream: the headers come, and no stream stays open.
func TestHeadOfAStream(t *testing.T) {
	t.Parallel()
	s := open(t)
	shop := &row{}
	shop.set(1, 1)
	s.shop.get = shop.get
	a := s.call(t, "HEAD", "/v1/orders/o1/events", s.token(t, "m1", accessv1.Shopper), "")
	assert.Equal(t, 200, a.code)
	assert.Equal(t, "text/event-stream", a.header.Get("Content-Type"))
	assert.Equal(t, "no-store, no-transform", a.header.Get("Cache-Control"))
	assert.Zero(t, s.hub.Open())
}

// TestBodyNeedsItsType: at every route with a body, what is not said to be JSON is 415, because another origin's page may send it from a visitor's
// browser without asking.
func TestBodyNeedsItsType(t *testing.T) {
	t.Parallel()
	s := open(t)
	operator := s.token(t, "m2", accessv1.Operator)
	tried := 0
	for _, r := range routes(t) {
		if !r.HasBody() {
			continue
		}
		tried++
		path := strings.NewReplacer("{", "", "}", "").Replace(r.Path)
		for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json",
			"application/json, text/plain", "application/json; charset=gbk", "application/jsonp", "json"} {
			a := s.call(t, r.Method, path, operator, `{"x":1}`, "Content-Type", contentType)
			assert.Equal(t, 415, a.code, "%s %s %q: %s", r.Method, path, contentType, a.body)
		}
	}
	assert.Greater(t, tried, 10)
	assert.Zero(t, s.shop.calls.Load(), "no service was asked")
	token := s.token(t, "m1", accessv1.Shopper)
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		assert.Equal(t, 201, s.call(t, "POST", "/v1/orders", token, anOrder, "Content-Type", contentType).code, contentType)
	}
	assert.NotEqual(t, 415, s.call(t, "POST", "/v1/orders/o1/pay", token, "", "Content-Type", "text/plain").code, "there is no body")
}

// TestOrigins: a browser lets pages of other origins call the API only where the configuration names them.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const ours, others = "https://shop.example.com", "https://evil.example.com"
	preflight := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,idempotency-key"}
	closed := open(t)
	assert.Empty(t, closed.call(t, "GET", "/v1/products/x", "", "", "Origin", ours).header.Get("Access-Control-Allow-Origin"), "off by default")
	assert.Equal(t, 405, closed.call(t, "OPTIONS", "/v1/orders", "", "", append(preflight, "Origin", ours)...).code)

	s := open(t, func(c *config) { c.HTTP.Origins = ours + ", http://localhost:3000" })
	a := s.call(t, "OPTIONS", "/v1/orders", "", "", append(preflight, "Origin", ours)...)
	assert.Equal(t, 204, a.code)
	assert.Equal(t, ours, a.header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "POST", a.header.Get("Access-Control-Allow-Methods"))
	a = s.call(t, "GET", "/v1/orders/o1", "", "", "Origin", "http://localhost:3000")
	assert.Equal(t, 401, a.code)
	assert.Equal(t, "http://localhost:3000", a.header.Get("Access-Control-Allow-Origin"), "errors can be read too")
	assert.Empty(t, a.header.Get("Access-Control-Allow-Credentials"))
	for _, origin := range []string{others, "null", ours + ".evil.example.com", "https://shop.example.com:8443", "http://shop.example.com"} {
		assert.Empty(t, s.call(t, "GET", "/v1/products/x", "", "", "Origin", origin).header.Get("Access-Control-Allow-Origin"), origin)
		assert.Empty(t, s.call(t, "OPTIONS", "/v1/orders", "", "", append(preflight, "Origin", origin)...).header.Get("Access-Control-Allow-Origin"), origin)
	}
	for _, wrong := range []string{"*", "shop.example.com", "https://shop.example.com/", "https://a.example.com;https://b.example.com", "https://*.example.com/x"} {
		_, err := otherOrigins(wrong)
		require.ErrorContains(t, err, "is no origin", wrong)
	}
}

// TestSchemesHaveNoCase: of RFC 9110 section 11.1; and a 401 says which scheme it wants.
func TestSchemesHaveNoCase(t *testing.T) {
	t.Parallel()
	s := open(t)
	token := s.token(t, "m1", accessv1.Shopper)
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR   "} {
		assert.Equal(t, 200, s.call(t, "GET", "/v1/orders/o1", "", "", "Authorization", scheme+token).code, scheme)
	}
	for _, wrong := range []string{token, "Basic " + token, "Bearer" + token, "Bearer\t" + token, "Bearer"} {
		a := s.call(t, "GET", "/v1/orders/o1", "", "", "Authorization", wrong)
		assert.Equal(t, 401, a.code, "%.7s", wrong)
		assert.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
	}
}
