package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	store "example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/sender"
	"example.com/fourfold/notify/internal/sms"
	"example.com/fourfold/notify/internal/smtp"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	MySQL mysql.Config    `json:"mysql"`
	MQ    rocketmq.Config `json:"mq"`
	Email struct {
		// Provider is demo or smtp.
		Provider string      `json:"provider"`
		SMTP     smtp.Config `json:"smtp"`
	} `json:"email"`
	SMS struct {
		// Provider is demo or http.
		Provider string     `json:"provider"`
		HTTP     sms.Config `json:"http"`
	} `json:"sms"`
	// OperatorsEmail are addresses, separated by commas.
	OperatorsEmail string           `json:"operators_email"`
	Stale          service.Duration `json:"stale"`
	Sender         struct {
		Every        service.Duration `json:"every"`
		Call         service.Duration `json:"call"`
		Lease        service.Duration `json:"lease"`
		LongestPause service.Duration `json:"longest_pause"`
		GiveUp       service.Duration `json:"give_up"`
	} `json:"sender"`
	Keep struct {
		// Messages is mq.MinKeep at least, 0 for ever.
		Messages service.Duration `json:"messages"`
		// Notifications is how long a notification is kept when it is closed, and a message in the inbox.
		Notifications service.Duration `json:"notifications"`
	} `json:"keep"`
}

// retention is what is deleted when it is old.
func (c config) retention() ([]mysql.Retention, error) {
	keep := c.Keep.Notifications.D()
	if keep < 0 {
		return nil, errors.New("keep.notifications: a time such as 720h; 0 keeps them for ever")
	}
	messages, err := mq.Retentions(c.Keep.Messages.D())
	return slices.Concat(messages, alert.Retentions(c.Keep.Messages.D()), []mysql.Retention{
		{Table: "notification", Column: "closed_at", Keep: keep},
		{Table: "inbox", Column: "received_at", Keep: keep},
	}), err
}

// times refuses those under which two senders would have the same notification at once.
func (c config) times() (sender.Times, error) {
	t := sender.Times{
		Every: c.Sender.Every.D(), Call: c.Sender.Call.D(), Lease: c.Sender.Lease.D(), LongestPause: c.Sender.LongestPause.D(),
		GiveUp: c.Sender.GiveUp.D(),
	}
	if t.Every <= 0 || t.Call <= 0 || t.Lease <= 2*t.Call || t.LongestPause <= 0 || t.GiveUp <= 0 || c.Stale.D() <= 0 {
		return t, errors.New("sender: every, call, longest_pause, give_up and stale above 0, lease above twice call")
	}
	return t, nil
}

// operators are the addresses that alerts go to.
func (c config) operators() ([]string, error) {
	var all []string
	for address := range strings.SplitSeq(c.OperatorsEmail, ",") {
		address = strings.TrimSpace(address)
		if parsed, err := mail.ParseAddress(address); err != nil || parsed.Address != address {
			return nil, fmt.Errorf("operators_email (OPERATORS_EMAIL): %q is no address: write them as a@example.com,b@example.com", address)
		}
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, nil
}

// emailProvider is the one that the configuration names.
func (c config) emailProvider(demo store.Inbox) (sender.Provider, error) {
	switch c.Email.Provider {
	case "demo":
		return demo, nil
	case "smtp":
		return smtp.New(c.Email.SMTP)
	}
	return nil, fmt.Errorf("email.provider (EMAIL_PROVIDER) is %q: set it to demo or smtp", c.Email.Provider)
}

// smsProvider is the one that the configuration names.
func (c config) smsProvider(demo store.Inbox) (sender.Provider, error) {
	switch c.SMS.Provider {
	case "demo":
		return demo, nil
	case "http":
		return sms.New(c.SMS.HTTP)
	}
	return nil, fmt.Errorf("sms.provider (SMS_PROVIDER) is %q: set it to demo or http", c.SMS.Provider)
}
