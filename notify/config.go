package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/email"
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
	// LimitsRedis is where the gateways count calls: operators are told when it is away. Without Addr nobody looks.
	LimitsRedis struct {
		Addr string `yaml:"addr"`
		CA   string `yaml:"ca"`
	} `yaml:"limits_redis"`
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
	// announce logs what the mail server supports; nil without one.
	announce func(context.Context) error
}

// settings checks the configuration. Its error names what is wrong. demo is the provider for demonstrations.
func (c config) settings(demo mysql.Mailbox) (s settings, err error) {
	var operators, mails, texts error
	s.operators, operators = c.operators()
	s.email, s.announce, mails = c.emailProvider(demo)
	s.sms, texts = c.smsProvider(demo)
	return s, errors.Join(c.checkTimes(), operators, mails, texts)
}

const (
	leastLease = 3 * time.Second
	mostStop   = 8 * time.Second
)

// checkTimes refuses times under which two senders would have the same notification at once.
func (c config) checkTimes() error {
	t := c.Sender
	switch {
	case c.Keep.Notifications < 0:
		return errors.New("keep.notifications: a time such as 720h; 0 keeps them for ever")
	case min(t.Every, t.LongestPause, t.Unanswered, t.GiveUp, c.Stale) <= 0:
		return errors.New("sender: every, longest_pause, unanswered, give_up and stale above 0")
	case t.Lease < leastLease:
		return fmt.Errorf("sender.lease: %s or longer: it is renewed after a sixth of it, and a slow database takes its time", leastLease)
	case t.Stop < 0 || t.Stop > mostStop:
		return fmt.Errorf("sender.stop: from 0s to %s: whoever stops the process kills it later", mostStop)
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
		if err := email.Check(address); err != nil {
			return nil, fmt.Errorf("operators_email (OPERATORS_EMAIL): %q %w: write them as a@example.com,b@example.com", address, err)
		}
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, nil
}

// emailProvider returns the provider that the configuration names, and what logs its abilities, if it has any.
func (c config) emailProvider(demo mysql.Mailbox) (sender.Provider, func(context.Context) error, error) {
	switch c.Email.Provider {
	case "demo":
		return demo, nil, nil
	case "smtp":
		p, err := smtp.New(c.Email.SMTP)
		if err != nil {
			return nil, nil, err
		}
		return p, p.Announce, nil
	}
	return nil, nil, fmt.Errorf("email.provider (EMAIL_PROVIDER) is %q: set it to demo or smtp", c.Email.Provider)
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
