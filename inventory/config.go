package main

import (
	_ "embed"

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
	// KeepMessages is mq.MinKeep at least, 0 for ever.
	KeepMessages service.Duration `json:"keep_messages"`
	MySQL        mysql.Config     `json:"mysql"`
	MQ           rocketmq.Config  `json:"mq"`
}

// retention is what is deleted when it is old.
func (c config) retention() ([]mysql.Retention, error) {
	barrier, err := tcc.BarrierRetention(c.KeepBarrier.D())
	if err != nil {
		return nil, err
	}
	messages, err := mq.Retentions(c.KeepMessages.D())
	return append(messages, barrier), err
}
