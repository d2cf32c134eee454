package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// client calls the gateway as one member.
type client struct {
	base, token string
	http        http.Client
}

// answer is an answer of the gateway. Body has the fields, of all messages of the API, that the tests look at.
type answer struct {
	code   int
	header http.Header
	raw    string
	Body   struct {
		ID          string `json:"id"`
		Status      string `json:"status"`
		Reason      string `json:"reason"`
		Message     string `json:"message"`
		TotalCents  int64  `json:"total_cents"`
		MemberID    string `json:"member_id"`
		AccessToken string `json:"access_token"`
		Credit      int64  `json:"credit"`
		PrepareAdd  int64  `json:"prepare_add_credit"`
		Sellable    int64  `json:"sellable"`
		Frozen      any    `json:"frozen"` // units of stock, or whether an account is frozen
		Sold        int64  `json:"sold"`
		Received    int64  `json:"received"`
		Deliveries  []struct{ ID, Status string }
		Lines       []struct {
			SKU      string `json:"sku"`
			Quantity int64  `json:"quantity"`
		} `json:"lines"`
	}
}

// try makes a call with a new Idempotency-Key. An error means that no answer came.
func (c *client) try(ctx context.Context, method, path string, body any) (answer, error) {
	return c.keyed(ctx, method, path, rand.Text(), body)
}

// keyed makes a call with the Idempotency-Key given.
func (c *client) keyed(ctx context.Context, method, path, key string, body any) (answer, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return answer{}, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPost && key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{code: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if len(raw) > 0 && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &a.Body); err != nil {
			return a, fmt.Errorf("%s %s: %w: %s", method, path, err, raw)
		}
	}
	return a, nil
}

// must makes a call that must be answered with code.
func (c *client) must(t testing.TB, code int, method, path string, body any) answer {
	t.Helper()
	a, err := c.try(t.Context(), method, path, body)
	require.NoError(t, err)
	require.Equal(t, code, a.code, "%s %s: %s", method, path, a.raw)
	return a
}

// anonymous returns a client that has not signed in.
func anonymous() *client {
	return &client{base: target.Gateway, http: http.Client{Timeout: 15 * time.Second}}
}

// shopper returns a client of a new member, signed in.
func shopper(t testing.TB) *client {
	t.Helper()
	c := anonymous()
	c.signUp(t)
	return c
}

// password is the password of every shopper.
const password = "correct horse"

// signUp signs c up as a new member and in, and returns the e-mail address.
func (c *client) signUp(t testing.TB) (email string) {
	t.Helper()
	email = strings.ToLower(rand.Text()) + "@example.com"
	phone := fmt.Sprintf("+86%011d", time.Now().UnixNano()%1e11)
	c.must(t, 201, "POST", "/v1/members", map[string]any{"phone": phone, "email": email, "name": "E2E", "password": password})
	c.signIn(t, email, password)
	return email
}

func (c *client) signIn(t testing.TB, login, password string) {
	t.Helper()
	c.token = c.must(t, 200, "POST", "/v1/sessions", map[string]any{"login": login, "password": password}).Body.AccessToken
	require.NotEmpty(t, c.token)
}

// product adds a product with units in stock and returns its sku.
func product(t testing.TB, cents, units int64) string {
	t.Helper()
	sku := "e2e-" + strings.ToLower(rand.Text())
	operator.must(t, 201, "POST", "/v1/ops/products", map[string]any{"sku": sku, "name": "测试 " + sku, "price_cents": cents})
	if units > 0 {
		operator.must(t, 200, "POST", "/v1/ops/products/"+sku+"/stock", map[string]any{"quantity": units})
	}
	return sku
}

// order creates an order of quantity units and returns its id.
func (c *client) order(t testing.TB, sku string, quantity int) string {
	t.Helper()
	a := c.must(t, 201, "POST", "/v1/orders", map[string]any{"lines": []any{map[string]any{"sku": sku, "quantity": quantity}}})
	require.Equal(t, "CREATED", a.Body.Status)
	return a.Body.ID
}

// pay asks to pay and returns whatever answer comes.
func (c *client) pay(t testing.TB, id string) answer {
	t.Helper()
	a, err := c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil)
	require.NoError(t, err)
	return a
}

// patience is how long a test waits for what is promised without a time. Other tests leave it little of the machine: two tries of a Confirm, ten
// seconds apart, have been too late on it.
const patience = 60 * time.Second

// settled waits until the order has one of the statuses, and returns it.
func (c *client) settled(t testing.TB, id string, statuses ...string) answer {
	t.Helper()
	return c.settledWithin(t, patience, id, statuses...)
}

// settledWithin is settled after a recovery, which has a time.
func (c *client) settledWithin(t testing.TB, within time.Duration, id string, statuses ...string) answer {
	t.Helper()
	var last answer
	require.Eventually(t, func() bool {
		a, err := c.try(t.Context(), "GET", "/v1/orders/"+id, nil)
		if err != nil || a.code != 200 {
			return false
		}
		last = a
		for _, s := range statuses {
			if a.Body.Status == s {
				return true
			}
		}
		return false
	}, within, 100*time.Millisecond, "order %s becomes %v: %v", id, statuses, &last.Body)
	return last
}
