package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"example.com/fourfold/e2e/internal/api"
)

// settle is the request of /v1/ops/orders/{id}/settlement, and its answer.
type settle struct {
	order    string
	Decision string `json:"decision"` // "" only shows

	report settlement
}

// settlement says where an order's open attempt stands.
type settlement struct {
	Status, GID, Kind, Coordinator string
	AgeSeconds                     int64 `json:"age_seconds"`
	Branches                       []struct{ Service, State, Error string }
	Choices                        []struct{ Decision, Refusal string }
}

func (s *settle) missing() string {
	if s.order == "" {
		return "ORDER"
	}
	return ""
}

// as takes the decision from the command line.
func (s *settle) as(text string) error {
	switch text {
	case "", "confirm", "cancel", "try":
		s.Decision = strings.ToUpper(text)
		return nil
	}
	return fmt.Errorf("AS is confirm, cancel or try")
}

func (s *settle) title() string {
	if s.Decision == "" {
		return "Where order " + s.order + " stands"
	}
	return "Settle order " + s.order + ": " + s.Decision
}

func (s *settle) part(ctx context.Context, c *api.Client) (more bool, err error) {
	path := "/v1/ops/orders/" + url.PathEscape(s.order) + "/settlement"
	if s.Decision == "" {
		return false, c.Call(ctx, http.MethodGet, path, nil, &s.report)
	}
	if err := c.Call(ctx, http.MethodPost, path, s, &s.report); err != nil {
		return false, err
	}
	for _, b := range s.report.Branches {
		if b.Error != "" {
			return false, fmt.Errorf("%s failed, and what comes after it was not called; repeat the command when its cause is gone\n  %s",
				b.Service, s.progress())
		}
	}
	return false, nil
}

func (s *settle) progress() string {
	r := s.report
	if r.GID == "" {
		return "the order reads " + r.Status + ", and nothing is open"
	}
	lines := []string{fmt.Sprintf("%s %s, open for %d s; the order reads %s", strings.ToLower(r.Kind), r.GID, r.AgeSeconds, r.Status),
		fmt.Sprintf("  %-12s %s", "coordinator", r.Coordinator)}
	for _, b := range r.Branches {
		lines = append(lines, strings.TrimRight(fmt.Sprintf("  %-12s %-10s %s", b.Service, b.State, b.Error), " "))
	}
	for _, c := range r.Choices {
		if s.Decision != "" {
			break
		}
		possible := "possible"
		if c.Refusal != "" {
			possible = "not possible: " + c.Refusal
		}
		lines = append(lines, fmt.Sprintf("  %-12s %s", "AS="+strings.ToLower(c.Decision), possible))
	}
	return strings.Join(lines, "\n  ")
}

func (s *settle) after() string { return "" }
