package main

import (
	_ "embed"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/participant"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	BranchKeys string           `yaml:"branch_keys"`
	MySQL      database.Config  `yaml:"mysql"`
	MQ         messaging.Config `yaml:"mq"`
	// OwnAddr is where the coordinator reaches this service, all its instances; grpc.addr when empty.
	OwnAddr string `yaml:"own_addr"`
	// Peers are the addresses of the other participants, by name.
	Peers       map[string]string `yaml:"peers"`
	Coordinator struct {
		GRPC  string `yaml:"grpc"`
		Admin string `yaml:"admin"`
	} `yaml:"coordinator"`
	OrderTTL time.Duration `yaml:"order_ttl"`
	// OpenOrders is how many orders of a member may be unpaid at a time; 0 for any number.
	OpenOrders int `yaml:"open_orders"`
	Keep       struct {
		Barrier time.Duration `yaml:"barrier"`
		// Answers is at least idempotency.MinKeep, or 0 for ever.
		Answers  time.Duration `yaml:"answers"`
		Messages time.Duration `yaml:"messages"`
	} `yaml:"keep"`
	Payment      checkout.Times      `yaml:"payment"`
	Sweep        checkout.SweepTimes `yaml:"sweep"`
	Conservation struct {
		Every time.Duration `yaml:"every"`
		Open  time.Duration `yaml:"open"`
	} `yaml:"conservation"`
}

// clocksApart is how far the clocks of two coordinators may be apart: the one that times a payment out may not be the one that it began at.
const clocksApart = 2 * time.Second

// peers checks the configuration and prepares the connections to the other participants.
func (c config) peers() (participant.Peers, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return participant.Dial(c.Peers, c.TLS)
}

// check refuses times that make no sense, or that would let a payment be canceled while its initiator still counts on it.
func (c config) check() error {
	p, s := c.Payment, c.Sweep
	switch {
	case p.Call <= 0, p.Call >= p.Deadline, p.Deadline >= p.TimeoutToFail, p.TimeoutToFail >= 10*time.Second, p.TimeoutToFail%time.Second != 0:
		return errors.New("payment: call < deadline < timeout_to_fail < 10s must hold, timeout_to_fail in whole seconds")
	case p.Deadline+clocksApart > p.TimeoutToFail:
		return fmt.Errorf("payment: deadline must end %v before timeout_to_fail: the coordinators' clocks may be that far apart", clocksApart)
	case p.Deadline+3*p.Call >= c.GRPC.Timeout:
		return errors.New("payment: deadline + 3 calls must end before grpc.timeout, so that the answer still comes")
	case c.OrderTTL < time.Second:
		return errors.New("order_ttl: at least 1s")
	case c.OpenOrders < 0:
		return errors.New("open_orders: at least 1, or 0 for any number")
	case s.OldEnough < 10*time.Second, s.Every <= 0:
		return errors.New("sweep: old_enough must be at least 10s, every above 0")
	case c.Conservation.Every <= 0, c.Conservation.Open < time.Second:
		return errors.New("conservation: every must be above 0, open at least 1s")
	}
	return nil
}
