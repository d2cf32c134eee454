package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.com/fourfold/e2e/internal/api"
)

// position is the request of POST /v1/ops/positions, or shows the positions when To is nil.
type position struct {
	Subject    string `json:"subject"`
	Group      string `json:"group"`
	Source     string `json:"source"`
	Generation string `json:"generation,omitempty"`
	To         *int64 `json:"sequence"`

	found       []standing
	forgotten   int64
	unreachable []string
}

// standing is how far a group is with the subject.
type standing struct {
	Service, Group, Source, Generation string
	Sequence, Waiting                  int64
	At                                 string
}

func (p *position) missing() string {
	switch {
	case p.Subject == "":
		return "SUBJECT"
	case p.To == nil:
		return ""
	case p.Group == "":
		return "GROUP"
	case p.Source == "":
		return "SOURCE"
	}
	return ""
}

// to takes the number from the command line.
func (p *position) to(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return errors.New("TO is the number after which the group goes on, 0 or more")
	}
	p.To = &n
	return nil
}

func (p *position) title() string {
	if p.To == nil {
		return "How far groups are with " + p.Subject
	}
	return fmt.Sprintf("Let %s go on after number %d of %s", p.Group, *p.To, p.Subject)
}

func (p *position) part(ctx context.Context, c *api.Client) (more bool, err error) {
	if p.To == nil {
		var reply struct {
			Positions   []standing
			Unreachable []string
		}
		query := url.Values{"subject": {p.Subject}, "group": {p.Group}}
		err := c.Call(ctx, http.MethodGet, "/v1/ops/positions?"+query.Encode(), nil, &reply)
		p.unreachable = reply.Unreachable
		for _, s := range reply.Positions {
			if (p.Source == "" || s.Source == p.Source) && (p.Generation == "" || s.Generation == p.Generation) {
				p.found = append(p.found, s)
			}
		}
		return false, err
	}
	var reply struct {
		Position  standing
		Forgotten int64
	}
	err = c.Call(ctx, http.MethodPost, "/v1/ops/positions", p, &reply)
	p.found, p.forgotten = []standing{reply.Position}, reply.Forgotten
	return false, err
}

func (p *position) progress() string {
	var lines []string
	for _, s := range p.found {
		line := fmt.Sprintf("%s of %s: number %d since %s", s.Group, s.Source, s.Sequence, s.At)
		if s.Generation != "" {
			line += ", generation " + s.Generation
		}
		if s.Waiting != 0 {
			line += fmt.Sprintf("; number %d waits", s.Waiting)
		}
		lines = append(lines, line)
	}
	if p.To != nil {
		lines = append(lines, fmt.Sprintf("%d event(s) that were dropped as old are forgotten", p.forgotten))
	}
	return listed(lines, "no group has a position", p.unreachable)
}

func (p *position) after() string {
	if p.forgotten > 0 {
		return "What was dropped has its effect when it is sent again: make resend SERVICE=" + strings.TrimPrefix(p.Source, "/") + " SINCE=…"
	}
	return ""
}

// listed returns lines as one text, or none when there are none, with the services whose lines are missing.
func listed(lines []string, none string, unreachable []string) string {
	if len(lines) == 0 {
		lines = []string{none}
	}
	if len(unreachable) > 0 {
		lines = append(lines, "not complete: no answer from "+strings.Join(unreachable, ", "))
	}
	return strings.Join(lines, "\n  ")
}
