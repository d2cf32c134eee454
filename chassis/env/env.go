// Package env reads settings from the environment, and secrets from the files that it names.
package env

import (
	"fmt"
	"os"
	"strings"
)

// Get returns the environment variable called name, or what is in the file that the variable name_FILE names, as secrets are handed to
// containers: to the letter, but for one line break at its end. It fails when both are set, and when the file cannot be read or is empty.
func Get(name string) (string, error) {
	value, file := os.Getenv(name), os.Getenv(name+"_FILE")
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", fmt.Errorf("both %s and %[1]s_FILE are set: unset one", name)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	value, windows := strings.CutSuffix(string(text), "\r\n")
	if !windows {
		value = strings.TrimSuffix(value, "\n")
	}
	if value == "" {
		return "", fmt.Errorf("%s_FILE: %s is empty", name, file)
	}
	return value, nil
}
