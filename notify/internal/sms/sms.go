// Package sms hands messages to a provider over HTTP.
package sms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/secret"
)

// Config is where the provider listens.
type Config struct {
	// URL is https://…, or http:// for a provider on this machine or in a private network.
	URL string `yaml:"url"`
	// Token is sent as a bearer token, also when the URL has a user in it.
	Token string `yaml:"token"`
	// Timeout bounds one call, from the connection to the end of the answer; 60 s when zero.
	Timeout time.Duration `yaml:"timeout"`
}

// Provider posts {"to": "+86…", "text": "…"} with the notification's id as Idempotency-Key.
type Provider struct {
	cfg     Config
	client  *http.Client
	host    string
	secrets secret.Texts
}

// New returns a Provider. It fails for a configuration that cannot work; the error does not quote the URL, in which there may be a secret.
func New(cfg Config) (*Provider, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return nil, errors.New("sms.http.url (SMS_URL) is not https://host/path: " +
			"set it to the provider's address, or sms.provider (SMS_PROVIDER) to demo")
	}
	if cfg.Token == "" {
		return nil, errors.New("sms.http.token (SMS_TOKEN) is empty: set it to the provider's, or sms.provider (SMS_PROVIDER) to demo")
	}
	if cfg.Timeout = cmp.Or(cfg.Timeout, 60*time.Second); cfg.Timeout < 0 {
		return nil, errors.New("sms.http.timeout: a time above 0, such as 60s")
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	transport = transport.Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	return &Provider{
		cfg: cfg, host: u.Host, secrets: secret.Of(append(secret.OfURL(u), cfg.Token)...),
		client: &http.Client{
			Transport: transport, Timeout: cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this address
		},
	}, nil
}

// notThisMessage are refusals that concern us and not the message: the token, the account or the address is wrong and can be corrected, or the
// call comes too soon or too often.
var notThisMessage = []int{401, 402, 403, 404, 405, 407, 408, 421, 425, 429}

// Send posts n. It returns notification.ErrRefused when the provider says that the message is wrong (4xx), notification.ErrUnknown when it was
// given the message and did not answer in time, or somebody in between answers for it (504), and a notification.LaterError when it says when to
// come again (Retry-After).
func (p *Provider) Send(ctx context.Context, n notification.Notification) error {
	return p.secrets.Hide(p.send(ctx, n))
}

func (p *Provider) send(ctx context.Context, n notification.Notification) error {
	body, err := json.Marshal(map[string]string{"to": n.To, "text": n.Text})
	if err != nil {
		return err
	}
	var given atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { given.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address of the provider is not usable") // err quotes it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.cfg.Token)
	req.Header.Set("Idempotency-Key", n.ID)
	resp, err := p.client.Do(req)
	if err != nil {
		return p.failure(err, given.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	err = fmt.Errorf("%s: %s", resp.Status, said)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 400 && code < 500 && !slices.Contains(notThisMessage, code):
		return fmt.Errorf("%w: %w", notification.ErrRefused, err)
	case code == http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %w", notification.ErrUnknown, err)
	}
	if after := retryAfter(resp.Header.Get("Retry-After"), time.Now()); after > 0 {
		return notification.LaterError{After: after, Err: err}
	}
	return err
}

// failure returns err, which the client made, without the URL that is in it. given is whether the request was on its way.
func (p *Provider) failure(err error, given bool) error {
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	err = fmt.Errorf("call %s: %w", p.host, err)
	if given {
		return fmt.Errorf("%w: %w", notification.ErrUnknown, err)
	}
	return err
}

// retryAfter parses a header of that name: seconds, or a date. It returns 0 for anything else.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now)
	}
	return 0
}
