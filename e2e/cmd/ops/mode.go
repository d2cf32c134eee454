package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.com/fourfold/e2e/internal/api"
)

// mode shows which way events go. With a Mode it is the request of POST /v1/ops/mq first.
type mode struct {
	Mode   string `json:"mode"`
	Reason string `json:"reason"`

	found standingMode
}

// standingMode is the answer.
type standingMode struct {
	Mode, Since, Why, By, Opener, Force, Service string
	Epoch, Entries                               int64
	LeaseUntil                                   string `json:"lease_until"`
	RedisAnswered                                bool   `json:"redis_answered"`
	AsOf                                         string `json:"as_of"`
	OldestAt                                     string `json:"oldest_at"`
	Queues                                       []struct {
		Shard, Entries int64
		OldestAt       string `json:"oldest_at"`
	}
	Groups []struct {
		Group              string
		Entries, Instances int64
	}
	Changes []struct{ At, From, To, By, Why, Force string }
}

// mostShown is how many queues and changes are listed.
const mostShown = 10

func (m *mode) missing() string {
	if m.Mode != "" && m.Reason == "" {
		return "WHY"
	}
	return ""
}

// force takes the mode from the command line.
func (m *mode) force(text string) error {
	switch text {
	case "", "DEGRADED", "NORMAL", "AUTOMATIC":
		m.Mode = text
		return nil
	}
	return errors.New("MODE is DEGRADED, NORMAL or AUTOMATIC")
}

func (m *mode) title() string {
	if m.Mode == "" {
		return "Which way events go"
	}
	return fmt.Sprintf("Make the way of events %s: %s", m.Mode, m.Reason)
}

func (m *mode) part(ctx context.Context, c *api.Client) (more bool, err error) {
	if m.Mode == "" {
		return false, c.Call(ctx, http.MethodGet, "/v1/ops/mq", nil, &m.found)
	}
	return false, c.Call(ctx, http.MethodPost, "/v1/ops/mq", m, &m.found)
}

func (m *mode) progress() string {
	f := m.found
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if !f.RedisAnswered {
		add("REDIS DOES NOT ANSWER: this is what %s knew at %s, and nobody knows what lies in the queues", f.Service, cmp.Or(f.AsOf, "no time"))
	}
	add("%-9s since %s: %s", cmp.Or(f.Mode, "UNKNOWN"), cmp.Or(f.Since, "-"), map[string]string{"NORMAL": "by the broker",
		"DEGRADED": "by Redis, the broker is away", "DRAINING": "by Redis still, the broker is back"}[f.Mode])
	add("why       %s, by %s", cmp.Or(f.Why, "-"), cmp.Or(f.By, "-"))
	add("force     %s", cmp.Or(f.Force, "AUTOMATIC"))
	if f.Mode != "NORMAL" && f.Opener != "" {
		add("leads     %s, which found the broker away, until %s", f.Opener, f.LeaseUntil)
	}
	if !f.RedisAnswered {
		return strings.Join(lines, "\n  ")
	}
	queued := fmt.Sprintf("%d event(s)", f.Entries)
	if f.Entries > 0 {
		queued += fmt.Sprintf(" in %d queue(s), the oldest of %s", len(f.Queues), f.OldestAt)
	}
	add("queued    %s", queued)
	for _, q := range f.Queues[:min(len(f.Queues), mostShown)] {
		add("  queue %-4d %6d, the oldest of %s", q.Shard, q.Entries, q.OldestAt)
	}
	if len(f.Queues) > mostShown {
		add("  and %d more", len(f.Queues)-mostShown)
	}
	for _, g := range f.Groups {
		add("  %-24s %6d not settled, %d instance(s)", g.Group, g.Entries, g.Instances)
	}
	for n, c := range f.Changes[:min(len(f.Changes), mostShown)] {
		what := c.From + " -> " + c.To
		if c.From == c.To {
			what = c.To
			if c.Force != "" {
				what += ", made " + c.Force
			}
		}
		add("%-9s %s  %s by %s: %s", map[bool]string{true: "before"}[n == 0], c.At, what, c.By, c.Why)
	}
	return strings.Join(lines, "\n  ")
}

func (m *mode) after() string {
	switch {
	case m.found.Force == "DEGRADED" || m.found.Force == "NORMAL":
		return "It stays so until somebody says otherwise: make mq MODE=AUTOMATIC WHY=…"
	case m.found.Mode == "DEGRADED" || m.found.Mode == "DRAINING":
		return "It ends by itself when the broker takes events and the queues are empty."
	}
	return ""
}
