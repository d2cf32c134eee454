package compose

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"example.com/fourfold/deploy/system"
)

// Chosen returns the variables of environ with which a person configures the system: see system.Chosen.
func Chosen(root string, environ []string) (map[string]string, error) {
	settings, err := system.Settings(root)
	if err != nil {
		return nil, err
	}
	open, err := passed(root)
	if err != nil {
		return nil, err
	}
	return system.Chosen(environ, settings, func(name string) string {
		if !open[name] {
			return "compose.yaml decides it: unset it, or set it in compose.extras.yaml"
		}
		return ""
	})
}

// passed returns the variables that compose.yaml passes on to a service from outside: those without a value.
func passed(root string) (map[string]bool, error) {
	file := filepath.Join(root, "deploy/compose/compose.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var project struct {
		Services map[string]struct{ Environment map[string]*string }
	}
	if err := yaml.Unmarshal(text, &project); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	open := map[string]bool{}
	for _, service := range project.Services {
		for name, value := range service.Environment {
			open[name] = open[name] || value == nil || strings.HasPrefix(*value, "${"+name)
		}
	}
	return open, nil
}
