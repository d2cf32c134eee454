package service_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/service"
)

// settings is a service's configuration: the frame's keys and its own side by side.
type settings struct {
	service.Config
	TTL   time.Duration `yaml:"token_ttl"`
	MySQL struct {
		DSN      string `yaml:"dsn"`
		MaxConns int    `yaml:"max_conns"`
	} `yaml:"mysql"`
}

const defaults = `
grpc:
  addr: ${X_LISTEN:127.0.0.1:9005}
  timeout: 10s
faults: ${FAULTS:false}
identity_keys: ${IDENTITY_KEYS:../var/keys}
token_ttl: ${TOKEN_TTL:1h}
mysql:
  dsn: ${X_DSN:root@tcp(127.0.0.1:13306)/shop_x}
  max_conns: ${X_CONNS:10}
`

func TestLoadTakesDefaults(t *testing.T) {
	t.Setenv("FAULTS", "") // set but empty counts as unset
	var cfg settings
	require.NoError(t, service.Load("", []byte(defaults), &cfg))
	assert.Equal(t, "127.0.0.1:9005", cfg.GRPC.Addr)
	assert.Equal(t, 10*time.Second, cfg.GRPC.Timeout)
	assert.False(t, cfg.Faults)
	assert.Equal(t, time.Hour, cfg.TTL)
	assert.Equal(t, "root@tcp(127.0.0.1:13306)/shop_x", cfg.MySQL.DSN)
	assert.Equal(t, 10, cfg.MySQL.MaxConns)
}

func TestLoadTakesTheEnvironment(t *testing.T) {
	t.Setenv("FAULTS", "true")
	t.Setenv("IDENTITY_KEYS", "/keys")
	t.Setenv("TOKEN_TTL", "90s")
	t.Setenv("X_DSN", "app:p}w:d #1@tcp(db:3306)/x")
	t.Setenv("X_CONNS", "3")
	t.Setenv("MYSQL", "a variable that has the name of a key")
	var cfg settings
	require.NoError(t, service.Load("", []byte(defaults), &cfg))
	assert.True(t, cfg.Faults)
	assert.Equal(t, "/keys", cfg.IdentityKeys)
	assert.Equal(t, 90*time.Second, cfg.TTL)
	assert.Equal(t, "app:p}w:d #1@tcp(db:3306)/x", cfg.MySQL.DSN)
	assert.Equal(t, 3, cfg.MySQL.MaxConns)
}

func TestLoadReadsTheFileInPlaceOfDefaults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte("grpc: {addr: '127.0.0.1:1'}\n"), 0o600))
	var cfg settings
	require.NoError(t, service.Load(path, []byte(defaults), &cfg))
	assert.Equal(t, "127.0.0.1:1", cfg.GRPC.Addr)
	assert.Empty(t, cfg.MySQL.DSN)

	require.ErrorIs(t, service.Load(path+".absent", []byte(defaults), &cfg), os.ErrNotExist)
	t.Run("a duration without a unit", func(t *testing.T) {
		require.ErrorContains(t, service.Load("", []byte("token_ttl: ${ABSENT_TTL:3600}"), &cfg), "duration")
	})
}

// TestLoadIsStrict: an unknown key, and a value that would be read as something else, are refused by name.
func TestLoadIsStrict(t *testing.T) {
	type part struct {
		Timeout time.Duration `yaml:"timeout"`
		Tries   int           `yaml:"tries"`
		Name    string        `yaml:"name"`
		On      bool          `yaml:"on"`
	}
	type strict struct {
		service.Config
		Part  part            `yaml:"part"`
		Parts []part          `yaml:"parts"`
		Addrs map[string]part `yaml:"addrs"`
	}
	t.Setenv("STRICT_TRIES", "many")
	t.Setenv("STRICT_NAME", "007")
	for text, want := range map[string]string{
		"prat: {}":                           "there is no setting prat",
		"part: {timeuot: 3s}":                "there is no setting part.timeuot",
		"grpc: {adr: 'a:1'}\nfaluts: true":   "there is no setting faluts, grpc.adr",
		"Part: {}":                           "there is no setting Part",
		"part: {timeout: 3}":                 "part.timeout",
		"part: {timeout: 3000000000}":        "has no unit: write a duration such as 3s",
		"part: {timeout: 3 parsecs}":         "part.timeout",
		"part: {timeout: '3'}":               "part.timeout",
		"part: {tries: 1.5}":                 "part.tries",
		"part: {tries: '${STRICT_TRIES:3}'}": "part.tries",
		"part: {tries: [1]}":                 "part.tries",
		"part: {name: 7}":                    "part.name",
		"part: {on: 1}":                      "part.on",
		"parts: [{tires: 1}]":                "parts[0].tires",
		"addrs: {a: {tries: x}}":             "addrs[a].tries",
		"part: 7":                            "part",
		"- part":                             "configuration",
		"part: {tries: 1}\npart: {}":         "already defined",
	} {
		require.ErrorContains(t, service.Load("", []byte(text), new(strict)), want, text)
	}
	var cfg strict
	require.NoError(t, service.Load("",
		[]byte("part: {timeout: 1m30s, tries: '3', name: '${STRICT_NAME:}', on: '${ABSENT:true}'}\naddrs: {any: {}}"), &cfg))
	assert.Equal(t, part{Timeout: 90 * time.Second, Tries: 3, Name: "007", On: true}, cfg.Part)
	require.NoError(t, service.Load("", nil, &cfg), "an empty file")
	t.Setenv("STRICT_TRIES", "010")
	require.NoError(t, service.Load("", []byte("part: {tries: '${STRICT_TRIES:}'}"), &cfg))
	assert.Equal(t, 10, cfg.Part.Tries, "no octal numbers")
}

// TestLoadSecrets: a file's text is taken to the letter, whatever YAML would make of it.
func TestLoadSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	t.Setenv("X_DSN_FILE", file)
	load := func(text string) (string, error) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		var cfg settings
		err := service.Load("", []byte(defaults), &cfg)
		return cfg.MySQL.DSN, err
	}
	for _, secret := range []string{"a#b", " # all of it", "key: value", `ends with \`, "0123456789", "007", "true", "null", "~", "[a", "{b", "- c", "&d", "*e",
		"%f", "@g", `"h`, "'i", "${PATH:x}", " with blanks ", "\ttab", "两个字", "two\nlines"} {
		for _, end := range []string{"", "\n", "\r\n"} {
			got, err := load(secret + end)
			require.NoError(t, err, secret)
			require.Equal(t, secret, got)
		}
	}
	_, err := load("\n")
	require.ErrorContains(t, err, "is empty")
	require.NoError(t, os.Remove(file))
	var cfg settings
	require.ErrorContains(t, service.Load("", []byte(defaults), &cfg), "X_DSN_FILE: open ")
	t.Setenv("X_DSN", "root@/x")
	require.ErrorContains(t, service.Load("", []byte(defaults), &cfg), "both X_DSN and X_DSN_FILE are set")
}
