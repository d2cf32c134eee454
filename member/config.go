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
	SigningKey string           `json:"signing_key"`
	TokenTTL   service.Duration `json:"token_ttl"`
	MySQL      mysql.Config     `json:"mysql"`
}
