package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leaks matches what no answer may say: where the code is, what the database said, what is behind the gateway.
var leaks = regexp.MustCompile(`(?i)goroutine \d|\.go:\d|panic|runtime error|stack ?trace|\bselect .+ from\b|\binsert into\b|` +
	`SQL syntax|Error \d{4} \(|duplicate entry|mysql|mariadb|shop_[a-z]+\b|\bdial\b|127\.0\.0\.1|\[::1\]|localhost|rpc error|` +
	`code = [A-Z]|proto:|/tmp/|/root/|/home/`)

// victim is a shopper with one thing of each kind.
type victim struct{ id, order, delivery, sku string }

func newVictim(t *testing.T) victim {
	t.Helper()
	c := shopper(t)
	sku := product(t, 100, 10)
	v := victim{sku: sku, order: c.order(t, sku, 1), id: c.must(t, 200, "GET", "/v1/members/me", nil).Body.MemberID}
	paid := c.order(t, sku, 1)
	require.Equal(t, "PAID", c.pay(t, paid).Body.Status)
	slips := operator.must(t, 200, "GET", "/v1/ops/deliveries?order_id="+paid, nil).Body.Deliveries
	require.Len(t, slips, 1)
	v.delivery = slips[0].ID
	return v
}

// of returns the victim's id for the variable of a path, "" when the victim has no such thing.
func (v victim) of(r *route) string {
	for prefix, id := range map[string]string{
		"/v1/orders/": v.order, "/v1/ops/deliveries/": v.delivery, "/v1/ops/members/": v.id, "/v1/ops/orders/": v.order,
		"/v1/products/": v.sku, "/v1/ops/products/": v.sku, "/v1/ops/dead-letters/": "notify-1", "/v1/ops/refused/": "notify-1",
	} {
		if strings.HasPrefix(r.path, prefix) {
			return id
		}
	}
	return ""
}

// fresh stands for an Idempotency-Key that was never used.
const fresh = "fresh"

// attack sends requests to one route, and checks what must hold for each answer.
type attack struct {
	*testing.T
	route *route
	id    string // in the path, escaped
	query string
	token string // the whole header; "" for none
	key   string // fresh for a new one each time
	body  string
	sku   string // the product of orders; "" for one that does not exist
}

func newAttack(t *testing.T, r *route, id, token string) attack {
	a := attack{T: t, route: r, id: id, token: "Bearer " + token, key: fresh}
	if s := r.body(); s != nil {
		a.body = text(t, good(t, s))
	}
	return a
}

// send sends a request and returns the answer. It checks that the answer is documented, is no 5xx and reveals nothing, and that an error has the
// form of an error.
func (a attack) send(what string) hostileAnswer {
	a.Helper()
	url := target.Gateway + a.route.at(a.id) + "?" + a.query
	req, err := http.NewRequestWithContext(a.Context(), a.route.method, url, strings.NewReader(a.body))
	require.NoError(a, err)
	req.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", a.token)
	}
	if a.key == fresh {
		a.key = rand.Text()
	}
	if a.key != "" {
		req.Header.Set("Idempotency-Key", a.key)
	}
	// A redirect would be an undocumented answer.
	c := http.Client{Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	require.NoError(a, err, what)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(a, err, what)

	got := hostileAnswer{a.T, what, resp.StatusCode, string(raw), form{}}
	assert.Contains(a, a.route.Responses, strconv.Itoa(got.status), "%s: the code is documented: %s", what, raw)
	assert.Less(a, got.status, 500, "%s: %s", what, raw)
	assert.Equal(a, "application/json", resp.Header.Get("Content-Type"), what)
	assert.NotEmpty(a, resp.Header.Get("X-Request-Id"), what)
	assert.NotRegexp(a, leaks, got.raw, what)
	if got.status >= 300 && assert.NoError(a, json.Unmarshal(raw, &got.form), "%s: %s", what, raw) {
		assert.Equal(a, got.status, got.form.Code, "%s: %s", what, raw)
		assert.Regexp(a, `^[A-Z][A-Z0-9_]+$`, got.form.Reason, "%s: %s", what, raw)
		assert.NotEmpty(a, got.form.Message, what)
		assert.NotNil(a, got.form.Metadata, what)
	}
	return got
}

type form struct {
	Code            int
	Reason, Message string
	Metadata        map[string]string
}

type hostileAnswer struct {
	*testing.T
	what   string
	status int
	raw    string
	form   form
}

// refuses requires that the request was refused as not valid and that the answer names the field, or one within it.
func (h hostileAnswer) refuses(field string) {
	h.Helper()
	assert.Equal(h, 400, h.status, "%s: %s", h.what, h.raw)
	if named, ok := h.form.Metadata["field"]; ok {
		assert.True(h, strings.HasPrefix(named, field), "%s: %s", h.what, h.raw)
	}
	assert.Regexp(h, `(^|\s)`+regexp.QuoteMeta(field)+`[^ ]*: `, h.form.Message, "%s: the message says which field", h.what)
}

func (h hostileAnswer) is(status int, reason string) {
	h.Helper()
	assert.Equal(h, status, h.status, "%s: %s", h.what, h.raw)
	assert.Equal(h, reason, h.form.Reason, "%s: %s", h.what, h.raw)
}

// TestHostileRequests is sequential: it closes the warehouse on the way.
func TestHostileRequests(t *testing.T) {
	v, stranger := newVictim(t), shopper(t)
	defer func() {
		operator.must(t, 200, "PUT", "/v1/ops/warehouse", map[string]any{"open": true})
		requireBooks(t)
	}()
	for _, r := range routes(t) {
		t.Run(r.OperationID, func(t *testing.T) {
			token := stranger.token
			if r.operators() {
				token = operator.token
			}
			a := newAttack(t, r, "unknown", token)
			a.sku = v.sku
			if r.operators() || r.public() {
				a.id = v.of(r)
			}
			t.Run("ids", func(t *testing.T) { a.T = t; a.ids(v) })
			t.Run("query", func(t *testing.T) { a.T = t; a.queries() })
			t.Run("body", func(t *testing.T) { a.T = t; a.bodies() })
			t.Run("key", func(t *testing.T) { a.T = t; a.keys() })
		})
	}
}

// begins holds the routes for which no id is unknown, and why.
var begins = map[string]string{"Credits_SetFrozen": "credit has no list of members: an account begins with the first write to it"}

// ids puts into the path ids that do not exist, ids of another member, and texts that are no ids.
func (a attack) ids(v victim) {
	name := a.route.pathParameter()
	if name == "" {
		return
	}
	if !a.route.operators() && !a.route.public() {
		a.id = v.of(a.route)
		require.NotEmpty(a, a.id, "say in victim.of what there is at %s", a.route.path)
		assert.Equal(a, 404, a.send("somebody else's").status)
		a.token = "Bearer " + operator.token
		assert.Equal(a, 404, a.send("somebody else's, for an operator").status)
	}
	for _, id := range []string{"unknown", "0", "-1", "9223372036854775808", "测试", "😀", "' OR '1'='1", "x; DROP TABLE orders; --",
		"%", "*", "a b", "a\x00b", "a\nb", "\u202e", "01a2022f-0000-7000-8000-000000000000"} {
		a.id = url.PathEscape(id)
		got := a.send("id " + strconv.Quote(id))
		if reason := begins[a.route.OperationID]; reason == "" || got.status != 200 {
			assert.Contains(a, []int{400, 404}, got.status, "id %q: %s", id, got.raw)
		}
	}
	for _, id := range []string{strings.Repeat("x", 65), strings.Repeat("x", 10_000), "%ff%fe"} {
		a.id = id
		a.send("id " + id[:6]).refuses(name)
	}
}

// queries puts into the query what is not allowed there.
func (a attack) queries() {
	for _, p := range a.route.Parameters {
		if p.In != "query" {
			continue
		}
		for _, bad := range badTexts(p.Schema) {
			a.query = url.Values{p.Name: {bad}}.Encode()
			a.send(fmt.Sprintf("%s=%.40q", p.Name, bad)).refuses(p.Name)
		}
		for _, odd := range oddTexts {
			a.query = url.Values{p.Name: {odd}}.Encode()
			a.send(fmt.Sprintf("%s=%q", p.Name, odd))
		}
		a.query = p.Name + "=1&" + p.Name + "=2"
		a.send(p.Name + " twice").refuses(p.Name)
		a.query = p.Name + "=%ff"
		a.send(p.Name + " is not UTF-8").refuses(p.Name)
	}
	a.query = "surprise=1"
	a.send("unknown parameter").refuses("surprise")
}

// keys leaves out the Idempotency-Key or sends a bad one.
func (a attack) keys() {
	for _, p := range a.route.Parameters {
		if p.In != "header" || p.Name != "Idempotency-Key" {
			continue
		}
		for _, key := range []string{"", strings.Repeat("k", 101), strings.Repeat("k", 5000), "with space", "测试", "tab\there"} {
			a.key = key
			got := a.send(fmt.Sprintf("key %.20q", key))
			assert.Equal(a, 400, got.status, got.raw)
			assert.Contains(a, strings.ToLower(got.form.Message), "idempotency-key")
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// TestNoSuchRoute calls routes that the description does not have.
func TestNoSuchRoute(t *testing.T) {
	t.Parallel()
	nothing := map[string]struct{}{"404": {}, "405": {}}
	for _, path := range []string{"/", "/v1", "/v1/", "/v2/orders", "/v1/orders/", "//", "/v1//orders", "/v1/orders//pay", "/v1/./orders",
		"/v1/x/../orders", "/v1/orders/..%2f..%2fops", "/v1/orders/x/pay/y", "/V1/ORDERS", "/v1/orders%00", "/v1/" + strings.Repeat("x", 8000),
		"/debug/pprof/", "/faults", "/order.v1.Orders/GetOrder", "/order.v1.OrderPayment/Try", "/v1/ops/faults/", "/.env", "/%ff"} {
		a := attack{T: t, route: &route{method: "GET", path: path, Responses: nothing}}
		a.send(path)
		a.route.method, a.body = "POST", "{}"
		a.send("POST " + path)
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
		a := attack{T: t, route: &route{method: method, path: "/v1/ops/warehouse", Responses: nothing}}
		if method != "PUT" {
			a.send(method).is(405, "METHOD_NOT_ALLOWED")
		}
	}
}
