package main

import (
	_ "embed"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	BranchKeys string           `yaml:"branch_keys"`
	MySQL      database.Config  `yaml:"mysql"`
	MQ         messaging.Config `yaml:"mq"`
	Keep       struct {
		// Barrier is at least tcc.MinKeepBarrier, or 0 for ever.
		Barrier time.Duration `yaml:"barrier"`
		// Answers is at least idempotency.MinKeep, or 0 for ever.
		Answers time.Duration `yaml:"answers"`
		// Messages is at least mq.MinKeep, or 0 for ever.
		Messages time.Duration `yaml:"messages"`
	} `yaml:"keep"`
}
