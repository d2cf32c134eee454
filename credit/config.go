package main

import (
	_ "embed"

	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	BranchKeys string `json:"branch_keys"`
	// KeepBarrier is tcc.MinKeepBarrier at least, 0 for ever.
	KeepBarrier service.Duration `json:"keep_barrier"`
	MySQL       mysql.Config     `json:"mysql"`
}
