// Package demo is a client of a running stack. It fills the catalogue, signs up a shopper, pays, ships and refunds orders, and shows what that
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

	"example.com/fourfold/deploy/local/stack"
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

// signIn returns a client for the member a.
func signIn(ctx context.Context, s *stack.Stack, a stack.Account) (client, error) {
	c := client{base: s.Gateway()}
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
