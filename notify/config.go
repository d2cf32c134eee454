package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/sender"
	"example.com/fourfold/notify/internal/sms"
	"example.com/fourfold/notify/internal/smtp"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	MySQL database.Config  `yaml:"mysql"`
	MQ    messaging.Config `yaml:"mq"`
	Email struct {
		// Provider is demo or smtp.
		Provider string      `yaml:"provider"`
		SMTP     smtp.Config `yaml:"smtp"`
	} `yaml:"email"`
	SMS struct {
		// Provider is demo or http.
		Provider string     `yaml:"provider"`
		HTTP     sms.Config `yaml:"http"`
		// Budget bounds what providers are given that cost money.
		Budget notification.Budget `yaml:"budget"`
	} `yaml:"sms"`
	// OperatorsEmail are addresses, separated by commas.
	OperatorsEmail string        `yaml:"operators_email"`
	Stale          time.Duration `yaml:"stale"`
	Sender         sender.Times  `yaml:"sender"`
	Keep           struct {
		// Messages is at least mq.MinKeep, or 0 for ever.
		Messages time.Duration `yaml:"messages"`
		// Notifications is how long a closed notification and a message in the inbox are kept.
		Notifications time.Duration `yaml:"notifications"`
	} `yaml:"keep"`
}

// settings are the values that the configuration names.
type settings struct {
	operators  []string
	email, sms sender.Provider
}

// settings checks the configuration. Its error names what is wrong. demo is the provider for demonstrations.
func (c config) settings(demo mysql.Mailbox) (s settings, err error) {
	var operators, email, sms error
	s.operators, operators = c.operators()
	s.email, email = c.emailProvider(demo)
	s.sms, sms = c.smsProvider(demo)
	return s, errors.Join(c.checkTimes(), operators, email, sms)
}

// checkTimes refuses times under which two senders would have the same notification at once.
func (c config) checkTimes() error {
	t := c.Sender
	switch {
	case c.Keep.Notifications < 0:
		return errors.New("keep.notifications: a time such as 720h; 0 keeps them for ever")
	case t.Every <= 0, t.Call <= 0, t.Lease <= 2*t.Call, t.LongestPause <= 0, t.GiveUp <= 0, c.Stale <= 0:
		return errors.New("sender: every, call, longest_pause, give_up and stale above 0, lease above twice call")
	}
	return nil
}

// smsBudget returns the budget of SMS, nil when they cost nothing.
func (c config) smsBudget() *notification.Budget {
	if c.SMS.Provider == "demo" {
		return nil
	}
	return &c.SMS.Budget
}

// retention returns what is deleted when it is old.
func (c config) retention() []database.Retention {
	return []database.Retention{
		{Table: "notification", Column: "closed_at", Keep: c.Keep.Notifications},
		{Table: "sms_spent", Column: "day", Keep: c.Keep.Notifications},
		{Table: "inbox", Column: "received_at", Keep: c.Keep.Notifications},
	}
}

// operators returns the addresses that alerts go to.
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

// emailProvider returns the provider that the configuration names.
func (c config) emailProvider(demo mysql.Mailbox) (sender.Provider, error) {
	switch c.Email.Provider {
	case "demo":
		return demo, nil
	case "smtp":
		return smtp.New(c.Email.SMTP)
	}
	return nil, fmt.Errorf("email.provider (EMAIL_PROVIDER) is %q: set it to demo or smtp", c.Email.Provider)
}

// smsProvider returns the provider that the configuration names.
func (c config) smsProvider(demo mysql.Mailbox) (sender.Provider, error) {
	switch c.SMS.Provider {
	case "demo":
		return demo, nil
	case "http":
		return sms.New(c.SMS.HTTP)
	}
	return nil, fmt.Errorf("sms.provider (SMS_PROVIDER) is %q: set it to demo or http", c.SMS.Provider)
}
