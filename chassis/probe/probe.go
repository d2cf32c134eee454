// Package probe asks a process over HTTP whether it is healthy.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Ask returns nil when url answers 200. Otherwise the error says why not, with the reasons that /readyz answers.
func Ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true // an idle connection could belong to a process that was killed meanwhile
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.Unwrap(err) // without the URL that url.Error adds
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct {
		Failed map[string]string `json:"failed"`
	}
	_ = json.NewDecoder(res.Body).Decode(&answer)
	var reasons []string
	for _, check := range slices.Sorted(maps.Keys(answer.Failed)) {
		reasons = append(reasons, check+": "+answer.Failed[check])
	}
	return fmt.Errorf("answers %d %s", res.StatusCode, strings.Join(reasons, "; "))
}

// AskSelf is Ask for the process on this machine that listens on addr, host:port, which may be every address: it is what a container's health
// check runs. It gives up after 3 s.
func AskSelf(ctx context.Context, addr, path string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return Ask(ctx, "http://"+net.JoinHostPort(host, port)+path)
}
