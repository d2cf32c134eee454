package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// SignUp is one sign-up and what followed from it by messages, all of it read from the running system.
type SignUp struct {
	Member string `json:"member"`
	Email  string `json:"email"`
	Phone  string `json:"phone"`
	// At is when the sign-up was answered, after Took.
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took_ns"`
	Points int64         `json:"points"`
	// Inbox holds what was sent to the new member.
	Inbox []mail `json:"inbox"`
	// Message is the life of member.registered.
	Message message `json:"message"`
}

// mail is an SMS or an e-mail in the demo's inbox.
type mail struct {
	Channel    string    `json:"channel"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Text       string    `json:"text"`
	ReceivedAt time.Time `json:"received_at"`
}

// message is the life of an event, as GET /v1/ops/messages shows it.
type message struct {
	EventID      string        `json:"event_id"`
	Type         string        `json:"type"`
	Service      string        `json:"service"`
	State        string        `json:"state"`
	BornAt       time.Time     `json:"born_at"`
	HalfAt       time.Time     `json:"half_at"`
	Consumptions []consumption `json:"consumptions"`
}

// consumption is what a group did with an event.
type consumption struct {
	Group    string    `json:"group"`
	State    string    `json:"state"`
	Tries    int       `json:"tries"`
	ClosedAt time.Time `json:"closed_at"`
}

// followers are the groups that a sign-up wakes.
var followers = []string{"credit-registration", "notify-email", "notify-sms"}

// SignUp signs up a new shopper and waits until everything that follows has happened.
func (d *Demo) SignUp(ctx context.Context) (SignUp, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// In a stack that was just brought up the groups may not have found the broker yet; that must not count here.
	if err := remoting.AwaitConsumers(ctx, d.target.Broker, followers...); err != nil {
		return SignUp{}, err
	}
	s, _, err := d.signUp(ctx)
	return s, err
}

// signUp is SignUp without a broker too. It returns a client for the new member as well.
func (d *Demo) signUp(ctx context.Context) (SignUp, client, error) {
	member := client{base: d.shopper.base}
	digits, err := rand.Int(rand.Reader, big.NewInt(1e9))
	if err != nil {
		return SignUp{}, member, err
	}
	s := SignUp{Email: strings.ToLower(rand.Text()[:10]) + "@example.com", Phone: fmt.Sprintf("+8613%09d", digits)}
	password := rand.Text()
	var answer struct {
		MemberID string `json:"member_id"`
	}
	start := time.Now()
	err = member.do(ctx, http.MethodPost, "/v1/members",
		map[string]string{"phone": s.Phone, "email": s.Email, "name": "Nora New · 新用户", "password": password}, &answer)
	s.Member, s.At, s.Took = answer.MemberID, time.Now(), time.Since(start)
	if err != nil {
		return s, member, err
	}
	var session struct {
		AccessToken string `json:"access_token"`
	}
	if err := member.do(ctx, http.MethodPost, "/v1/sessions", map[string]string{"login": s.Email, "password": password}, &session); err != nil {
		return s, member, err
	}
	member.token = session.AccessToken
	for {
		missing, err := d.followed(ctx, member, &s)
		if err == nil && missing == "" {
			return s, member, nil
		}
		select {
		case <-ctx.Done():
			return s, member, fmt.Errorf("member %s signed up, and this did not follow: %s: %w (`make logs SERVICE=broker` shows the broker's)",
				s.Member, missing, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
		if err != nil {
			return s, member, err
		}
	}
}

// followed reads into s what has followed so far, and returns what is still missing.
func (d *Demo) followed(ctx context.Context, member client, s *SignUp) (missing string, err error) {
	var account struct {
		Credit int64 `json:"credit"`
	}
	err = member.do(ctx, http.MethodGet, "/v1/members/me/credit", nil, &account)
	if err != nil && !answered(err, http.StatusNotFound) {
		return "the points", err
	}
	s.Points, s.Inbox = account.Credit, nil
	for _, to := range []string{s.Phone, s.Email} {
		inbox, err := d.inbox(ctx, to)
		if err != nil {
			return "the inbox", err
		}
		s.Inbox = append(s.Inbox, inbox...)
	}
	messages, err := d.messages(ctx, "subject", s.Member)
	if err != nil || len(messages) == 0 {
		return "the message's trace", err
	}
	s.Message = messages[0]
	for _, group := range followers {
		if !slices.ContainsFunc(s.Message.Consumptions, func(c consumption) bool { return c.Group == group && c.State == "DONE" }) {
			return group, nil
		}
	}
	switch {
	case s.Points == 0:
		return "the points", nil
	case len(s.Inbox) < 2:
		return "SMS and e-mail", nil
	}
	return "", nil
}

// inbox returns what was sent to a number or an address.
func (d *Demo) inbox(ctx context.Context, to string) ([]mail, error) {
	var inbox struct {
		Messages []mail `json:"messages"`
	}
	err := d.operator.do(ctx, http.MethodGet, "/v1/ops/inbox?to="+url.QueryEscape(to), nil, &inbox)
	return inbox.Messages, err
}

// messages returns the traces of the events about a subject or an order.
func (d *Demo) messages(ctx context.Context, by, id string) ([]message, error) {
	var reply struct {
		Messages []message `json:"messages"`
	}
	err := d.operator.do(ctx, http.MethodGet, "/v1/ops/messages?"+by+"="+url.QueryEscape(id), nil, &reply)
	return reply.Messages, err
}

// after says how long after the sign-up's answer t was; what happened while the answer was under way counts as 0.
func (s SignUp) after(t time.Time) string {
	return millis(t.Sub(s.At))
}

// done says when a group was done.
func (s SignUp) done(group string) string {
	for _, c := range s.Message.Consumptions {
		if c.Group == group {
			return s.after(c.ClosedAt)
		}
	}
	return ""
}

// Write writes the sign-up under a title.
func (s SignUp) Write(w io.Writer, title string, color bool) {
	page := page{w, color}
	_, _ = fmt.Fprintf(w, "\n  %s\n  %s\n  %s\n\n", page.in(bold, title), "Member writes one row; what follows goes by message, once each.",
		page.in(dim, "member "+s.Member))
	page.columns("what followed", "consumer group", "after the answer")
	s.rows(page)
	m := s.Message
	half := "a half message, committed with the row"
	if m.HalfAt.IsZero() {
		half = "written with the row, sent by the relay"
	}
	_, _ = fmt.Fprintf(w, "\n  %s: %s; %d groups had it.\n", m.Type, half, len(m.Consumptions))
	_, _ = fmt.Fprintf(w, "  %s in %d ms, and all of it had followed %s later.\n", page.in(green, "SIGNED UP"), s.Took.Milliseconds(), s.last())
}

// rows writes what followed, a line each.
func (s SignUp) rows(page page) {
	page.entry("credit", fmt.Sprintf("points 0 → %d", s.Points), "credit-registration", s.done("credit-registration"))
	for _, m := range s.Inbox {
		name, group, text := "SMS", "notify-sms", m.Text
		if m.Channel == "EMAIL" {
			name, group, text = "e-mail", "notify-email", m.Subject
		}
		page.entry("notify", name, group, s.after(m.ReceivedAt))
		page.note(text)
	}
}

// last says when the last of what followed was there.
func (s SignUp) last() string {
	last := s.At
	for _, m := range s.Inbox {
		if m.ReceivedAt.After(last) {
			last = m.ReceivedAt
		}
	}
	for _, c := range s.Message.Consumptions {
		if c.ClosedAt.After(last) {
			last = c.ClosedAt
		}
	}
	return s.after(last)
}
