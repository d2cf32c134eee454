// Package service is the frame every service runs in: configuration, logs, the gRPC server with its middleware, the
// admin port (/healthz, /readyz, /metrics, /faults) and an orderly stop.
package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-kratos/kratos/v2/config"
	"github.com/go-kratos/kratos/v2/config/env"
	_ "github.com/go-kratos/kratos/v2/encoding/yaml" // the configuration's format
)

// Config is what every service's config.yaml has besides its own keys.
type Config struct {
	GRPC struct {
		// Addr is host:port; port 0 takes a free one.
		Addr string `json:"addr"`
		// Timeout bounds one call.
		Timeout Duration `json:"timeout"`
	} `json:"grpc"`
	Admin struct {
		// Addr is host:port of /healthz, /readyz, /metrics and /faults. It has no authentication: keep it private.
		Addr string `json:"addr"`
	} `json:"admin"`
	Log struct {
		// Level is debug, info, warn or error.
		Level string `json:"level"`
	} `json:"log"`
	// Faults allows failpoints to be set over the admin port. For demonstrations and tests.
	Faults bool `json:"faults"`
	// IdentityKeys is the folder with the public keys (<key id>.pem) that access tokens are checked against.
	IdentityKeys string `json:"identity_keys"`
}

// Duration is a time.Duration that reads "1s" or "200ms".
type Duration time.Duration

// D is d as the standard library has it.
func (d Duration) D() time.Duration { return time.Duration(d) }

// UnmarshalJSON reads a string of time.ParseDuration's form.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration is written as a string such as \"2s\": %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Load reads the configuration into cfg: the file at path, or defaults when path is empty. A value may hold
// ${NAME:default}, which takes the environment variable NAME.
func Load(path string, defaults []byte, cfg any) error {
	data := defaults
	if path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
	}
	c := config.New(
		config.WithSource(yaml(data), env.NewSource()),
		config.WithResolveActualTypes(true),
	)
	if err := c.Load(); err != nil {
		return fmt.Errorf("load the configuration: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Scan(cfg); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return nil
}

// yaml is a Kratos configuration source over bytes already in memory.
type yaml []byte

func (y yaml) Load() ([]*config.KeyValue, error) {
	return []*config.KeyValue{{Key: "config.yaml", Value: y, Format: "yaml"}}, nil
}

func (y yaml) Watch() (config.Watcher, error) { return idle{stopped: make(chan struct{})}, nil }

// idle is the watcher of a configuration that never changes.
type idle struct{ stopped chan struct{} }

func (w idle) Next() ([]*config.KeyValue, error) {
	<-w.stopped
	return nil, errors.New("configuration watcher stopped")
}

func (w idle) Stop() error {
	close(w.stopped)
	return nil
}
