// Package service is the frame every service runs in: configuration, logs, the gRPC server with its middleware, the
// admin port (/healthz, /readyz, /metrics, /faults) and an orderly stop.
package service

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kratos/kratos/v2/config"
	_ "github.com/go-kratos/kratos/v2/encoding/yaml" // the configuration's format
	klog "github.com/go-kratos/kratos/v2/log"
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

// Load reads the configuration into cfg: the file at path, or defaults when path is empty. A value that is written as
// ${NAME:default} is the environment variable NAME, or default (which may hold colons) when that is unset or empty. A cfg with a
// time.Duration is refused: it would read a number of nanoseconds where every other one reads "3s".
func Load(path string, defaults []byte, cfg any) error {
	if field := bareDuration(reflect.TypeOf(cfg)); field != "" {
		return fmt.Errorf("configuration %T%s is a time.Duration: make it a service.Duration, which reads \"3s\"", cfg, field)
	}
	data := defaults
	if path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
	}
	// Kratos tells each step, in a form of its own, as long as New has not set the logger.
	klog.SetLogger(klog.NewFilter(klog.DefaultLogger, klog.FilterLevel(klog.LevelWarn)))
	// Not Kratos' own env source: it puts every variable beside the file's keys, where FAULTS=true collides with faults.
	c := config.New(config.WithSource(yaml(data)), config.WithResolver(resolve))
	if err := c.Load(); err != nil {
		return fmt.Errorf("load the configuration: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Scan(cfg); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return nil
}

// bareDuration names the first field of t, or below it, that is made of a time.Duration; empty when there is none. inside are the types
// that t is a part of.
func bareDuration(t reflect.Type, inside ...reflect.Type) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(inside, t) {
		return ""
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if strings.HasSuffix(f.Type.String(), reflect.TypeFor[time.Duration]().String()) {
			return "." + f.Name
		}
		if below := bareDuration(f.Type, append(inside, t)...); below != "" {
			return "." + f.Name + below
		}
	}
	return ""
}

// resolve puts the environment into the values of m.
func resolve(m map[string]any) error {
	for k, v := range m {
		m[k] = resolved(v)
	}
	return nil
}

func resolved(v any) any {
	switch v := v.(type) {
	case map[string]any:
		_ = resolve(v)
	case []any:
		for i := range v {
			v[i] = resolved(v[i])
		}
	case string:
		inner, found := strings.CutPrefix(v, "${")
		inner, closed := strings.CutSuffix(inner, "}")
		if !found || !closed {
			return v
		}
		name, fallback, _ := strings.Cut(inner, ":")
		return typed(cmp.Or(os.Getenv(name), fallback))
	}
	return v
}

// typed reads what YAML would: a bool, a whole number, else text; "7" in quotes is text.
func typed(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if unquoted, err := strconv.Unquote(s); err == nil {
		return unquoted
	}
	switch s {
	case "true":
		return true
	case "false":
		return false
	}
	return s
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
	return nil, context.Canceled // anything else and Kratos asks again every second
}

func (w idle) Stop() error {
	close(w.stopped)
	return nil
}
