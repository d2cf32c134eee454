package main

import (
	_ "embed"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	BranchKeys string          `json:"branch_keys"`
	MySQL      mysql.Config    `json:"mysql"`
	MQ         rocketmq.Config `json:"mq"`
	Peers      struct {
		Own       string `json:"own"`
		Inventory string `json:"inventory"`
		Credit    string `json:"credit"`
		WMS       string `json:"wms"`
	} `json:"peers"`
	Coordinator struct {
		GRPC  string `json:"grpc"`
		Admin string `json:"admin"`
	} `json:"coordinator"`
	OrderTTL service.Duration `json:"order_ttl"`
	Keep     struct {
		Barrier  service.Duration `json:"barrier"`
		Answers  service.Duration `json:"answers"`
		Messages service.Duration `json:"messages"`
	} `json:"keep"`
	Payment struct {
		TimeoutToFail service.Duration `json:"timeout_to_fail"`
		Deadline      service.Duration `json:"deadline"`
		Wait          service.Duration `json:"wait"`
		Call          service.Duration `json:"call"`
	} `json:"payment"`
	Sweep struct {
		Every     service.Duration `json:"every"`
		OldEnough service.Duration `json:"old_enough"`
		Alert     service.Duration `json:"alert"`
	} `json:"sweep"`
	Conservation struct {
		Every service.Duration `json:"every"`
		Open  service.Duration `json:"open"`
	} `json:"conservation"`
}

func (c config) payTimes() checkout.Times {
	return checkout.Times{
		TimeoutToFail: c.Payment.TimeoutToFail.D(), Deadline: c.Payment.Deadline.D(),
		Wait: c.Payment.Wait.D(), Call: c.Payment.Call.D(),
	}
}

func (c config) sweepTimes() checkout.SweepTimes {
	return checkout.SweepTimes{Every: c.Sweep.Every.D(), OldEnough: c.Sweep.OldEnough.D(), Alert: c.Sweep.Alert.D()}
}

// retention is what is deleted when it is old. An answer has to outlive the repetitions of its call: who repeats a POST /v1/orders
// later gets a second order.
func (c config) retention() ([]mysql.Retention, error) {
	barrier, err := tcc.BarrierRetention(c.Keep.Barrier.D())
	if err != nil {
		return nil, err
	}
	if k := c.Keep.Answers.D(); k != 0 && k < minKeepAnswers {
		return nil, fmt.Errorf("keep.answers: at least %v, longer than anybody repeats a call; 0 keeps them for ever", minKeepAnswers)
	}
	messages, err := mq.Retentions(c.Keep.Messages.D())
	messages = append(messages, alert.Retentions(c.Keep.Messages.D())...)
	return append(messages, barrier, mysql.Retention{Table: "idempotency", Column: "created_at", Keep: c.Keep.Answers.D()}), err
}

const minKeepAnswers = 24 * time.Hour

// check refuses times under which a payment could be canceled while its initiator still believes in it, and such as make no sense.
func (c config) check() error {
	p, s := c.payTimes(), c.sweepTimes()
	switch {
	case p.Call <= 0, p.Call >= p.Deadline, p.Deadline >= p.TimeoutToFail, p.TimeoutToFail >= 10*time.Second, p.TimeoutToFail%time.Second != 0:
		return errors.New("payment: call < deadline < timeout_to_fail < 10s must hold, timeout_to_fail in whole seconds")
	case p.Deadline+3*p.Call >= c.GRPC.Timeout.D():
		return errors.New("payment: deadline + 3 calls must end before grpc.timeout, so that the answer still comes")
	case c.OrderTTL.D() < time.Second:
		return errors.New("order_ttl: at least 1s")
	case s.OldEnough < 10*time.Second, s.Every <= 0:
		return errors.New("sweep: old_enough must be at least 10s, every above 0")
	case c.Conservation.Every <= 0, c.Conservation.Open.D() < time.Second:
		return errors.New("conservation: every must be above 0, open at least 1s")
	}
	return nil
}
