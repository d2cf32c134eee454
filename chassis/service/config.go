package service

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"
)

// Config is the part of config.yaml that every service has besides its own keys.
type Config struct {
	GRPC struct {
		// Addr is host:port; port 0 takes a free one.
		Addr string `yaml:"addr"`
		// Timeout bounds one call.
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"grpc"`
	Admin struct {
		// Addr is host:port of /healthz, /readyz, /metrics and /faults. There is no authentication: keep it private.
		Addr string `yaml:"addr"`
	} `yaml:"admin"`
	Log struct {
		// Level is debug, info, warn or error.
		Level string `yaml:"level"`
	} `yaml:"log"`
	// Faults allows failpoints to be set over the admin port. For demonstrations and tests.
	Faults bool `yaml:"faults"`
	// IdentityKeys is the folder with the public keys (<key id>.pem) that access tokens are checked against.
	IdentityKeys string `yaml:"identity_keys"`
}

// Load reads the configuration into cfg, a pointer to a struct with yaml tags: the file at path, or defaults when path is empty. A value written
// as ${NAME:default} is the environment variable NAME, or default (which may hold colons) when that is unset or empty. A time.Duration is
// written as "3s". When a key has no field in cfg, or a value does not fit its field, Load returns an error that names the keys.
func Load(path string, defaults []byte, cfg any) error {
	data := defaults
	if path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
	}
	values := map[string]any{}
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the configuration%s: %w", in(path), err)
	}
	var seen mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: cfg, Metadata: &seen, TagName: "yaml", Squash: true,
		MatchName: func(key, field string) bool { return key == field },
		DecodeHook: mapstructure.ComposeDecodeHookFunc(exact, mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToBasicTypeHookFunc()),
	})
	if err != nil {
		return err
	}
	if err := decoder.Decode(resolved(values)); err != nil {
		return fmt.Errorf("read the configuration%s: %w", in(path), err)
	}
	if len(seen.Unused) > 0 {
		slices.Sort(seen.Unused)
		return fmt.Errorf("read the configuration%s: there is no setting %s", in(path), strings.Join(seen.Unused, ", "))
	}
	return nil
}

// in returns a space and path for an error, or nothing for the built-in configuration.
func in(path string) string {
	if path == "" {
		return ""
	}
	return " " + path
}

// exact refuses values that would be read as something else: a number for a duration would be nanoseconds, a fraction for an integer would lose
// its digits.
func exact(from, to reflect.Type, value any) (any, error) {
	switch {
	case to == reflect.TypeFor[time.Duration]() && from.Kind() != reflect.String:
		return nil, fmt.Errorf("%v has no unit: write a duration such as 3s or 200ms", value)
	case from.Kind() == reflect.Float64 && to.Kind() >= reflect.Int && to.Kind() <= reflect.Uintptr:
		return nil, fmt.Errorf("%v is not a whole number", value)
	}
	return value, nil
}

// resolved returns v with the environment's values in its strings.
func resolved(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = resolved(v[key])
		}
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
		return cmp.Or(os.Getenv(name), fallback)
	}
	return v
}
