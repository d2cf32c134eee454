package main

import (
	_ "embed"
	"time"

	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/endings"
	"example.com/fourfold/gateway/internal/limit"
	"example.com/fourfold/gateway/internal/live"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	HTTP struct {
		Addr           string        `yaml:"addr"`
		Timeout        time.Duration `yaml:"timeout"`
		WriteTimeout   time.Duration `yaml:"write_timeout"`
		PerAddress     int           `yaml:"per_address"`
		LameDuck       time.Duration `yaml:"lame_duck"`
		TrustedProxies string        `yaml:"trusted_proxies"`
		Origins        string        `yaml:"origins"`
	} `yaml:"http"`
	// Upstreams are the gRPC addresses of the services, by name; lists where several instances run.
	Upstreams map[string]string `yaml:"upstreams"`
	Messages  struct {
		// Timeout bounds each service's answer about its messages.
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"messages"`
	Endings endings.Config `yaml:"endings"`
	MQ      messaging.Ways `yaml:"mq"`
	Live    live.Config    `yaml:"live"`
	Redis   limit.Config   `yaml:"redis"`
	Limits  limits         `yaml:"limits"`
}

type limits struct {
	Calls     limit.Rate `yaml:"calls"`
	Strangers limit.Rate `yaml:"strangers"`
	Addresses limit.Rate `yaml:"addresses"`
	// UnderWay is how many calls may be under way at once in this gateway, 0 any number.
	UnderWay int        `yaml:"under_way"`
	SignUps  limit.Rate `yaml:"sign_ups"`
}
