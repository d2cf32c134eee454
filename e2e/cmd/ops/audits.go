package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"example.com/fourfold/e2e/internal/api"
)

// audits lists what each group knows about the events of each publisher.
type audits struct {
	found       []audit
	unreachable []string
}

type audit struct {
	Group, Publisher string
	Events, Resent   int64
	CompleteAt       string `json:"complete_at"`
	ResentAt         string `json:"resent_at"`
	LastError        string `json:"last_error"`
}

func (a *audits) missing() string { return "" }

func (a *audits) title() string { return "What groups have of what was sent" }

func (a *audits) part(ctx context.Context, c *api.Client) (more bool, err error) {
	var reply struct {
		Audits      []audit
		Unreachable []string
	}
	err = c.Call(ctx, http.MethodGet, "/v1/ops/audits", nil, &reply)
	a.found, a.unreachable = reply.Audits, reply.Unreachable
	return false, err
}

func (a *audits) progress() string {
	var lines []string
	for _, r := range a.found {
		line := fmt.Sprintf("%-20s of %-10s complete %s, %d compared", r.Group, r.Publisher, cmp.Or(r.CompleteAt, "never"), r.Events)
		if r.Resent > 0 {
			line += fmt.Sprintf("; %d sent again, the last at %s", r.Resent, r.ResentAt)
		}
		lines = append(lines, line)
		if r.LastError != "" {
			lines = append(lines, "  "+r.LastError)
		}
	}
	return listed(lines, "none was made yet", a.unreachable)
}

func (a *audits) after() string { return "" }
