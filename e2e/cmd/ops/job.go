package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"example.com/fourfold/e2e/internal/api"
)

// replay is the next request of POST /v1/ops/replay, and the sum of the answers so far.
type replay struct {
	Topic    string    `json:"topic"`
	Group    string    `json:"group"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to,omitzero"`
	Position string    `json:"position,omitempty"`

	service                                   string
	offered, effects, waiting, known, dropped int64
}

func (r *replay) missing() string {
	switch {
	case r.Topic == "":
		return "TOPIC"
	case r.Group == "":
		return "GROUP"
	case r.From.IsZero():
		return "FROM"
	}
	return ""
}

func (r *replay) title() string {
	return fmt.Sprintf("Replay %s to %s %s", r.Topic, r.Group, span(r.From, r.To))
}

func (r *replay) part(ctx context.Context, c *api.Client) (more bool, err error) {
	var reply struct {
		Service                                   string
		Offered, Effects, Waiting, Known, Dropped int64
		To                                        time.Time
		Position                                  string
	}
	if err := c.Call(ctx, http.MethodPost, "/v1/ops/replay", r, &reply); err != nil {
		return false, err
	}
	r.service = reply.Service
	r.offered += reply.Offered
	r.effects += reply.Effects
	r.waiting += reply.Waiting
	r.known += reply.Known
	r.dropped += reply.Dropped
	r.To, r.Position = reply.To, reply.Position
	return r.Position != "", nil
}

func (r *replay) progress() string {
	return fmt.Sprintf("%s: %d offered: %d had their effect now, %d wait, %d were known, %d dropped", r.service, r.offered, r.effects, r.waiting,
		r.known, r.dropped)
}

func (r *replay) after() string { return "" }

// resend is the next request of POST /v1/ops/resend, and the sum of the answers so far.
type resend struct {
	Service string    `json:"service"`
	Topic   string    `json:"topic,omitempty"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"`

	events int64
}

func (r *resend) missing() string {
	switch {
	case r.Service == "":
		return "SERVICE"
	case r.Since.IsZero():
		return "SINCE"
	}
	return ""
}

func (r *resend) title() string {
	what := "everything"
	if r.Topic != "" {
		what = r.Topic
	}
	return fmt.Sprintf("Resend %s that %s sent %s", what, r.Service, span(r.Since, r.Until))
}

func (r *resend) part(ctx context.Context, c *api.Client) (more bool, err error) {
	var reply struct {
		Events int64
		Until  time.Time
		More   bool
	}
	if err := c.Call(ctx, http.MethodPost, "/v1/ops/resend", r, &reply); err != nil {
		return false, err
	}
	r.events += reply.Events
	r.Until = reply.Until
	return reply.More, nil
}

func (r *resend) progress() string {
	return fmt.Sprintf("%s: %d are being sent again", r.Service, r.events)
}

func (r *resend) after() string {
	return "If the broker came back empty: consumers that ran on may pass over what came at once, so offer it to each group:\n" +
		"  make replay TOPIC=… GROUP=… FROM=<the broker's return> (what a group had has no second effect)"
}

// span formats a span of time; a zero to means now.
func span(from, to time.Time) string {
	end := "now"
	if !to.IsZero() {
		end = to.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("from %s to %s", from.UTC().Format(time.RFC3339), end)
}
