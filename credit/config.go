package main

import (
	_ "embed"
	"slices"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	BranchKeys string `json:"branch_keys"`
	// KeepBarrier is tcc.MinKeepBarrier at least, 0 for ever.
	KeepBarrier service.Duration `json:"keep_barrier"`
	// RegistrationPoints are what a new member gets, 0 for none.
	RegistrationPoints int64           `json:"registration_points"`
	MySQL              mysql.Config    `json:"mysql"`
	MQ                 rocketmq.Config `json:"mq"`
	Keep               struct {
		// Messages is mq.MinKeep at least, 0 for ever.
		Messages service.Duration `json:"messages"`
	} `json:"keep"`
}

// retention is what is deleted when it is old.
func (c config) retention() ([]mysql.Retention, error) {
	barrier, err := tcc.BarrierRetention(c.KeepBarrier.D())
	if err != nil {
		return nil, err
	}
	messages, err := mq.Retentions(c.Keep.Messages.D())
	return slices.Concat([]mysql.Retention{barrier}, messages, alert.Retentions(c.Keep.Messages.D())), err
}
