// Package operator is a client, for commands, that calls the gateway of a running system as its operator.
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"example.com/fourfold/deploy/system"
)

// Client is signed in as the operator. It is for one goroutine.
type Client struct {
	gateway string
	account system.Account
	token   string
	http    http.Client
}

// Refusal is an answer other than 200.
type Refusal struct {
	Code int
	// Message is the answer's sentence for people, or the whole answer when it has none.
	Message string
	// RetryAfter is how long to wait before repeating the call, zero when the answer does not say.
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Code, r.Message) }

// SignIn reads the file demo, which `make up` wrote about its system, and signs in as the operator it names.
func SignIn(ctx context.Context, demo string) (*Client, error) {
	target, err := system.ReadTargetFile(demo)
	if err != nil {
		return nil, err
	}
	c := &Client{
		gateway: target.Gateway, account: target.Operator,
		http: http.Client{Timeout: 30 * time.Second}, // longer than the gateway's own time-out
	}
	return c, c.signIn(ctx)
}

func (c *Client) signIn(ctx context.Context) error {
	var session struct {
		AccessToken string `json:"access_token"`
	}
	c.token = ""
	if err := c.call(ctx, http.MethodPost, "/v1/sessions", c.account, &session); err != nil {
		return fmt.Errorf("sign in as the operator: %w", err)
	}
	c.token = session.AccessToken
	return nil
}

// Call sends body, unless it is nil, as JSON and decodes the answer into reply. It signs in again when the token has expired. The error for an
// answer other than 200 is a *Refusal.
func (c *Client) Call(ctx context.Context, method, path string, body, reply any) error {
	err := c.call(ctx, method, path, body, reply)
	if refused := new(Refusal); errors.As(err, &refused) && refused.Code == http.StatusUnauthorized {
		if err := c.signIn(ctx); err != nil {
			return err
		}
		return c.call(ctx, method, path, body, reply)
	}
	return err
}

func (c *Client) call(ctx context.Context, method, path string, body, reply any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.gateway+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusOK {
		return json.Unmarshal(answer, reply)
	}
	var said struct{ Message string }
	if json.Unmarshal(answer, &said) != nil || said.Message == "" {
		said.Message = string(answer)
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 without one
	return &Refusal{Code: res.StatusCode, Message: said.Message, RetryAfter: time.Duration(seconds) * time.Second}
}
