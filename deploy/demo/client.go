// Package demo is a client of a running system. It fills the catalogue, signs up a shopper, pays, ships and refunds orders, and shows what that
// does to the numbers of the participants.
package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"example.com/fourfold/deploy/system"
)

// client calls the public API as one member.
type client struct {
	base, token string
}

// refusal is an answer that is not a success.
type refusal struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	call    string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.call, r.Code, r.Reason, r.Message)
}

// signIn returns a client of the gateway at base for the member a.
func signIn(ctx context.Context, base string, a system.Account) (client, error) {
	c := client{base: base}
	var session struct {
		AccessToken string `json:"access_token"`
	}
	err := c.do(ctx, http.MethodPost, "/v1/sessions", map[string]string{"login": a.Login, "password": a.Password}, &session)
	c.token = session.AccessToken
	return c, err
}

// do makes one call and decodes the answer into reply, unless that is nil. An answer above 299 is a *refusal.
func (c client) do(ctx context.Context, method, path string, body, reply any) error {
	return c.send(ctx, method, path, rand.Text(), body, reply)
}

// send is do with a given Idempotency-Key.
func (c client) send(ctx context.Context, method, path, key string, body, reply any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode > 299 {
		r := &refusal{call: method + " " + path}
		if json.Unmarshal(answer, r) != nil || r.Code == 0 {
			r.Code, r.Message = res.StatusCode, string(answer)
		}
		return r
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(answer, reply)
}

// answered reports whether err is an answer with this HTTP code.
func answered(err error, code int) bool {
	var r *refusal
	return errors.As(err, &r) && r.Code == code
}

// pay pays an order of the member and waits until it is decided. It fails when the order does not become PAID.
func (c client) pay(ctx context.Context, id string) (o order, err error) {
	if err = c.do(ctx, http.MethodPost, "/v1/orders/"+id+"/pay", map[string]any{}, nil); err == nil {
		o, err = c.settled(ctx, id)
	}
	if err == nil {
		err = expect(o, "PAID")
	}
	return o, err
}

// settled waits until no transaction of the member's order is open.
func (c client) settled(ctx context.Context, id string) (order, error) {
	return c.await(ctx, id, func(status string) bool { return status != "UPDATING" && status != "REFUNDING" })
}

// await waits until the status of the member's order is one that done wants.
func (c client) await(ctx context.Context, id string, done func(status string) bool) (order, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var o order
		if err := c.do(ctx, http.MethodGet, "/v1/orders/"+id, nil, &o); err != nil || done(o.Status) {
			return o, err
		}
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("order %s is still %s: %w", id, o.Status, ctx.Err())
		case <-time.After(30 * time.Millisecond):
		}
	}
}
