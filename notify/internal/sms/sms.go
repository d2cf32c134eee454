// Package sms hands messages to a provider over HTTP.
package sms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"example.com/fourfold/notify/internal/notification"
)

// Config is where the provider listens.
type Config struct {
	// URL is https://…, or http:// for a provider on this machine or in a private network.
	URL string `yaml:"url"`
	// Token is sent as a bearer token.
	Token string `yaml:"token"`
}

// Provider posts {"to": "+86…", "text": "…"} with the notification's id as Idempotency-Key.
type Provider struct {
	cfg    Config
	client *http.Client
}

// New returns a Provider. It fails for a configuration that cannot work.
func New(cfg Config) (*Provider, error) {
	if u, err := url.Parse(cfg.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("sms.http.url (SMS_URL) is not https://host/path: " +
			"set it to the provider's address, or sms.provider (SMS_PROVIDER) to demo")
	}
	if cfg.Token == "" {
		return nil, errors.New("sms.http.token (SMS_TOKEN) is empty: set it to the provider's, or sms.provider (SMS_PROVIDER) to demo")
	}
	return &Provider{cfg, &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this address
	}}, nil
}

// notThisMessage are refusals that concern us and not the message: the token, the account or the address is wrong and can be corrected, or the
// call comes too soon or too often.
var notThisMessage = []int{401, 402, 403, 404, 405, 407, 408, 421, 425, 429}

// Send posts n. It returns notification.ErrRefused when the provider says that the message is wrong (4xx).
func (p *Provider) Send(ctx context.Context, n notification.Notification) error {
	body, err := json.Marshal(map[string]string{"to": n.To, "text": n.Text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.cfg.Token)
	req.Header.Set("Idempotency-Key", n.ID)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 400 && code < 500 && !slices.Contains(notThisMessage, code):
		return fmt.Errorf("%w: %s: %s", notification.ErrRefused, resp.Status, said)
	}
	return fmt.Errorf("%s: %s", resp.Status, said)
}
