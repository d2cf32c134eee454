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
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"example.com/fourfold/chassis/env"
	"example.com/fourfold/chassis/mtls"
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
	// Faults allows failpoints to be set over the admin port, and shows gRPC reflection. For demonstrations and tests.
	Faults bool `yaml:"faults"`
	// IdentityKeys is the folder with the public keys (<key id>.pem) that access tokens are checked against.
	IdentityKeys string `yaml:"identity_keys"`
	// TLS is for the gRPC server and the connections to others.
	TLS mtls.Config `yaml:"tls"`
}

// Load reads the configuration into cfg, a pointer to a struct with yaml tags: the file at path, or defaults when path is empty. A value written
// as ${NAME:default} is the environment variable NAME; when that is unset or empty, what is in the file that NAME_FILE names (env.Get); when
// that is unset too, default (which may hold colons). A time.Duration is written as "3s". When a key has no field in cfg, or a value does not
// fit its field, Load returns an error that names the keys.
func Load(path string, defaults []byte, cfg any) error {
	data := defaults
	if path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
	}
	values := map[string]any{}
	document := yaml.NewDecoder(bytes.NewReader(data))
	if err := document.Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the configuration%s: %w", in(path), err)
	}
	if err := document.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the configuration%s: it goes on after its end: write one document, without ---", in(path))
	}
	if _, err := resolved("", values); err != nil {
		return fmt.Errorf("read the configuration%s: %w", in(path), err)
	}
	var seen mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: cfg, Metadata: &seen, TagName: "yaml", Squash: true,
		MatchName: func(key, field string) bool { return key == field },
		DecodeHook: mapstructure.ComposeDecodeHookFunc(exact, mapstructure.TextUnmarshallerHookFunc(),
			mapstructure.StringToTimeDurationHookFunc(), decimal, mapstructure.StringToBasicTypeHookFunc()),
	})
	if err != nil {
		return err
	}
	if err := decoder.Decode(values); err != nil {
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

// decimal reads a text where a whole number belongs in base 10: the library would read 010 as eight.
func decimal(_, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	switch {
	case ok && to.Kind() >= reflect.Int && to.Kind() <= reflect.Int64:
		return strconv.ParseInt(text, 10, to.Bits())
	case ok && to.Kind() >= reflect.Uint && to.Kind() <= reflect.Uint64:
		return strconv.ParseUint(text, 10, to.Bits())
	}
	return value, nil
}

// resolved returns v, which stands at path, with the environment put into its texts. It fails on a setting without a value, which would be
// read as zero, and on a key that is no text.
func resolved(path string, v any) (_ any, err error) {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			if v[key], err = resolved(strings.TrimPrefix(path+"."+key, "."), v[key]); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = resolved(fmt.Sprintf("%s[%d]", path, i), v[i]); err != nil {
				return nil, err
			}
		}
	case string:
		inner, found := strings.CutPrefix(v, "${")
		inner, closed := strings.CutSuffix(inner, "}")
		if found && closed {
			name, fallback, _ := strings.Cut(inner, ":")
			value, err := env.Get(name)
			return cmp.Or(value, fallback), err
		}
	case nil:
		return nil, fmt.Errorf("%s has no value: write one, or leave the line out", path)
	case map[any]any:
		return nil, fmt.Errorf("%s has a key that is not a text", path)
	}
	return v, nil
}
