package main

import (
	_ "embed"
	"fmt"
	"time"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/member/internal/rpc"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	SigningKey string        `yaml:"signing_key"`
	TokenTTL   time.Duration `yaml:"token_ttl"`
	Guesses    rpc.Guesses   `yaml:"guesses"`
	Passwords  struct {
		// Waiting is how many wait for each that is hashed; 0 lets any number wait.
		Waiting int `yaml:"waiting"`
	} `yaml:"passwords"`
	MySQL database.Config  `yaml:"mysql"`
	MQ    messaging.Config `yaml:"mq"`
	Keep  struct {
		// Messages is at least mq.MinKeep, or 0 for ever.
		Messages time.Duration `yaml:"messages"`
	} `yaml:"keep"`
}

// check refuses times that make no sense.
func (c config) check() error {
	if c.TokenTTL < time.Second {
		return fmt.Errorf("token_ttl is %s: write a time such as 1h", c.TokenTTL)
	}
	return nil
}

func (c config) members() rpc.Config { return rpc.Config{TokenTTL: c.TokenTTL, Guesses: c.Guesses} }

// loadSigner reads the signing key. It fails when the services would not accept what the key signs.
func loadSigner(cfg config) (*identity.Signer, error) {
	signer, err := identity.LoadSigner(cfg.SigningKey)
	if err != nil {
		return nil, err
	}
	verifier, err := identity.LoadVerifier(cfg.IdentityKeys)
	if err != nil {
		return nil, err
	}
	token, err := signer.Sign(identity.Caller{MemberID: "start", Role: accessv1.Shopper}, time.Now(), cfg.TokenTTL)
	if err != nil {
		return nil, err
	}
	if _, err := verifier.Verify(token); err != nil {
		return nil, fmt.Errorf("the public half of signing_key %s is not in identity_keys %s: put it there under the same name: %w",
			cfg.SigningKey, cfg.IdentityKeys, err)
	}
	return signer, nil
}
