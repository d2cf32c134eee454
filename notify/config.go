package main

import (
	_ "embed"
	"errors"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	MySQL mysql.Config `json:"mysql"`
	MQ    mq.Config    `json:"mq"`
	Keep  struct {
		// Messages is mq.MinKeep at least, 0 for ever.
		Messages service.Duration `json:"messages"`
		// Notifications is how long a notification is kept when it is closed, and a message in the inbox.
		Notifications service.Duration `json:"notifications"`
	} `json:"keep"`
}

// retention is what is deleted when it is old.
func (c config) retention() ([]mysql.Retention, error) {
	if c.Keep.Notifications.D() < 0 {
		return nil, errors.New("keep.notifications: a time such as 720h; 0 keeps them for ever")
	}
	messages, err := mq.Retentions(c.Keep.Messages.D())
	return append(messages,
		mysql.Retention{Table: "notification", Column: "closed_at", Keep: c.Keep.Notifications.D()},
		mysql.Retention{Table: "inbox", Column: "received_at", Keep: c.Keep.Notifications.D()},
	), err
}
