package main

import (
	_ "embed"

	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/limit"
	"example.com/fourfold/gateway/internal/live"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	HTTP struct {
		Addr              string           `json:"addr"`
		Timeout           service.Duration `json:"timeout"`
		LameDuck          service.Duration `json:"lame_duck"`
		TrustForwardedFor bool             `json:"trust_forwarded_for"`
	} `json:"http"`
	// Upstreams are the gRPC addresses of the services, by name; lists where several instances run.
	Upstreams map[string]string `json:"upstreams"`
	Messages  struct {
		// Timeout is how long each service may take to tell of its messages.
		Timeout service.Duration `json:"timeout"`
	} `json:"messages"`
	MQ     rocketmq.Config `json:"mq"`
	Live   live.Config     `json:"live"`
	Redis  limit.Config    `json:"redis"`
	Limits limits          `json:"limits"`
}

type limits struct {
	Calls     limit.Rate `json:"calls"`
	Strangers limit.Rate `json:"strangers"`
}
