package service

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCommand: without arguments the program serves; a word names a command, which gets the arguments that follow; any other word is refused.
func TestCommand(t *testing.T) {
	t.Parallel()
	type config struct {
		Config
		Greeting string `yaml:"greeting"`
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte("greeting: bye"), 0o600))
	run := func(args ...string) (string, error) {
		var got string
		serve := func(_ context.Context, cfg config) error {
			got = "serve " + cfg.Greeting
			return nil
		}
		seed := Command[config]{Name: "seed", Run: func(_ context.Context, cfg config, args []string) error {
			got = "seed " + cfg.Greeting
			for _, a := range args {
				got += " " + a
			}
			return nil
		}}
		err := command(t.Context(), "x", args, []byte("greeting: hello\nadmin: {addr: \"127.0.0.1:1\"}"), serve, []Command[config]{seed})
		return got, err
	}
	for want, args := range map[string][]string{
		"serve hello":           nil,
		"serve bye":             {"-conf", file},
		"seed hello":            {"seed"},
		"seed bye -member m  x": {"-conf", file, "seed", "-member", "m", "", "x"},
	} {
		got, err := run(args...)
		require.NoError(t, err, args)
		assert.Equal(t, want, got)
	}
	for want, args := range map[string][]string{
		`there is no command "sow": leave it out to serve, or seed, or health`: {"sow"},
		"absent.yaml": {"-conf", "absent.yaml"},
		"refused":     {"health"},
	} {
		got, err := run(args...)
		require.ErrorContains(t, err, want)
		assert.Empty(t, got)
	}
}
