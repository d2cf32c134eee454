// Package api is a client, for commands, of a running system's gateway.
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"example.com/fourfold/deploy/system"
)

// Client is signed in. It is for one goroutine.
type Client struct {
	gateway string
	account system.Account
	token   string
	http    http.Client
}

// Refusal is an answer that is not a success.
type Refusal struct {
	Code int
	// Message is the answer's sentence for people, or the whole answer when it has none.
	Message string
	// RetryAfter is how long to wait before repeating the call, zero when the answer does not say.
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Code, r.Message) }

// Operator reads the file demo, which `make up` wrote about its system, and signs in as the operator it names.
func Operator(ctx context.Context, demo string) (*Client, error) {
	target, err := system.ReadTargetFile(demo)
	if err != nil {
		return nil, err
	}
	c, err := SignIn(ctx, target.Gateway, target.Operator)
	if err != nil {
		return nil, fmt.Errorf("sign in as the operator: %w", err)
	}
	return c, nil
}

// SignIn signs in at the gateway, a base URL.
func SignIn(ctx context.Context, gateway string, a system.Account) (*Client, error) {
	c := &Client{
		gateway: gateway, account: a,
		http: http.Client{Timeout: 30 * time.Second}, // longer than the gateway's own time-out
	}
	return c, c.signIn(ctx)
}

// Stranger returns a client that is not signed in.
func Stranger(gateway string) *Client {
	return &Client{gateway: gateway, http: http.Client{Timeout: 30 * time.Second}}
}

// SignUp makes a new member and signs in.
func SignUp(ctx context.Context, gateway string) (*Client, error) {
	a := system.Account{Login: strings.ToLower(rand.Text()) + "@example.com", Password: rand.Text()}
	c := &Client{gateway: gateway, account: a, http: http.Client{Timeout: 30 * time.Second}}
	phone := fmt.Sprintf("+86%011d", time.Now().UnixNano()%1e11)
	err := c.call(ctx, http.MethodPost, "/v1/members",
		map[string]string{"phone": phone, "email": a.Login, "name": "Bench", "password": a.Password}, nil)
	if err != nil {
		return nil, fmt.Errorf("sign up: %w", err)
	}
	return c, c.signIn(ctx)
}

func (c *Client) signIn(ctx context.Context) error {
	var session struct {
		AccessToken string `json:"access_token"`
	}
	c.token = ""
	if err := c.call(ctx, http.MethodPost, "/v1/sessions", c.account, &session); err != nil {
		return err
	}
	c.token = session.AccessToken
	return nil
}

// Token returns the access token of the last sign-in.
func (c *Client) Token() string { return c.token }

// Call sends body, unless it is nil, as JSON, a POST with an Idempotency-Key of its own, and decodes the answer into reply, unless that is nil.
// It signs in again when the token has expired. The error for an answer that is not a success is a *Refusal.
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
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", uuid.Must(uuid.NewV7()).String())
	}
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
	if res.StatusCode < 300 {
		if reply == nil {
			return nil
		}
		return json.Unmarshal(answer, reply)
	}
	var said struct{ Message string }
	if json.Unmarshal(answer, &said) != nil || said.Message == "" {
		said.Message = string(answer)
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 without one
	return &Refusal{Code: res.StatusCode, Message: said.Message, RetryAfter: time.Duration(seconds) * time.Second}
}
