package main

import (
	_ "embed"
	"fmt"
	"time"

	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq/rocketmq"
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
	MQ         rocketmq.Config  `json:"mq"`
	// HalfGrace is mq.OutboxConfig's Grace.
	HalfGrace service.Duration `json:"half_grace"`
	Keep      struct {
		// Messages is mq.MinKeep at least, 0 for ever.
		Messages service.Duration `json:"messages"`
	} `json:"keep"`
}

// minHalfGrace is transactionTimeOut and transactionCheckInterval of deploy/rocketmq/broker.conf, and some seconds.
const minHalfGrace = 15 * time.Second

// check refuses times that make no sense.
func (c config) check() error {
	switch {
	case c.TokenTTL.D() < time.Second:
		return fmt.Errorf("token_ttl is %s: write a time such as 1h", c.TokenTTL.D())
	case c.HalfGrace.D() < minHalfGrace:
		return fmt.Errorf("half_grace is %s: at least %s, longer than the broker takes to ask back", c.HalfGrace.D(), minHalfGrace)
	}
	return nil
}

// loadSigner reads the signing key, and fails when the services would not accept what it signs.
func loadSigner(cfg config) (*identity.Signer, error) {
	signer, err := identity.LoadSigner(cfg.SigningKey)
	if err != nil {
		return nil, err
	}
	verifier, err := identity.LoadVerifier(cfg.IdentityKeys)
	if err != nil {
		return nil, err
	}
	token, err := signer.Sign(identity.Caller{MemberID: "start", Role: identity.Shopper}, time.Now(), cfg.TokenTTL.D())
	if err != nil {
		return nil, err
	}
	if _, err := verifier.Verify(token); err != nil {
		return nil, fmt.Errorf("the public half of signing_key %s is not in identity_keys %s: put it there under the same name: %w",
			cfg.SigningKey, cfg.IdentityKeys, err)
	}
	return signer, nil
}
