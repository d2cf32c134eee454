package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"example.com/fourfold/e2e/internal/api"
)

// refused lists the events that the broker refuses for good, or discards one.
type refused struct {
	discard string

	found       []refusedEvent
	unreachable []string
}

type refusedEvent struct {
	ID, Topic, Type, Subject string
	Sequence                 int64
	EventID                  string `json:"event_id"`
	BornAt                   string `json:"born_at"`
	LastError                string `json:"last_error"`
}

func (r *refused) missing() string { return "" }

func (r *refused) title() string {
	if r.discard == "" {
		return "Events that the broker refuses"
	}
	return "Discard " + r.discard
}

func (r *refused) part(ctx context.Context, c *api.Client) (more bool, err error) {
	if r.discard != "" {
		return false, c.Call(ctx, http.MethodPost, "/v1/ops/refused/"+url.PathEscape(r.discard)+"/discard", struct{}{}, &struct{}{})
	}
	var reply struct {
		Messages    []refusedEvent
		Unreachable []string
	}
	err = c.Call(ctx, http.MethodGet, "/v1/ops/refused", nil, &reply)
	r.found, r.unreachable = reply.Messages, reply.Unreachable
	return false, err
}

func (r *refused) progress() string {
	if r.discard != "" {
		return "it is not sent any more; the later ones of its subject are"
	}
	var lines []string
	for _, m := range r.found {
		about := m.Subject
		if m.Sequence > 0 {
			about += fmt.Sprintf(", number %d", m.Sequence)
		}
		lines = append(lines, fmt.Sprintf("%s  %s to %s about %s, since %s, event %s", m.ID, m.Type, m.Topic, about, m.BornAt, m.EventID), "  "+m.LastError)
	}
	return listed(lines, "none", r.unreachable)
}

func (r *refused) after() string {
	if r.discard != "" {
		return "Groups that keep the subject in order miss its number: they give up waiting after an hour, so redrive their dead letters then."
	}
	return ""
}
