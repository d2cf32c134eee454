package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"example.com/fourfold/deploy/system"
)

// Chosen returns the variables of environ with which a person configures a stack: PORT_<NAME> and PORT_OFFSET, and what the services' config.yaml
// name, as LIMIT_CALLS, or SMTP_PASSWORD_FILE for what is in a file. It fails for those of the latter that the stack itself decides, because it
// would have to ignore them.
func Chosen(environ []string) (map[string]string, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	settings, decided, err := settings(root)
	if err != nil {
		return nil, err
	}
	ports := system.Ports(system.MaxReplicas)
	env := map[string]string{}
	var errs []error
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		setting := strings.TrimSuffix(name, "_FILE")
		_, known := settings[setting]
		instead, listens := strings.CutSuffix(setting, "_LISTEN")
		switch {
		case value == "": // counts as unset
		case ports[name] != 0, name == "PORT_OFFSET", name == brokerFast, known && !decided[setting]:
			env[name] = value
		case known && listens:
			errs = append(errs, fmt.Errorf("%s=%s: everything listens on 127.0.0.1 here; PORT_%s chooses the port", name, value, instead))
		case known:
			errs = append(errs, fmt.Errorf("%s is set, and the stack decides it: unset it, or start that service by hand", name))
		}
	}
	return env, errors.Join(errs...)
}

// settings returns the variables that the services' config.yaml name with their defaults, and those of them that process-compose.yaml sets to what
// nobody chooses.
func settings(root string) (all map[string]string, decided map[string]bool, err error) {
	all, decided = map[string]string{}, map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "*", "config.yaml"))
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		for _, match := range regexp.MustCompile(`\$\{(\w+):(.*)\}`).FindAllSubmatch(text, -1) {
			all[string(match[1])] = string(match[2])
		}
	}
	text, readErr := os.ReadFile(projectFile(root))
	var project struct {
		Environment []string
		Processes   map[string]struct{ Environment []string }
	}
	if err := errors.Join(err, readErr, yaml.Unmarshal(text, &project)); err != nil {
		return nil, nil, err
	}
	assignments := project.Environment
	for _, p := range project.Processes {
		assignments = slices.Concat(assignments, p.Environment)
	}
	for _, assignment := range assignments {
		name, _, _ := strings.Cut(assignment, "=")
		_, notify := NotifyDefaults()[name]
		decided[name] = !notify && name != "LOG_LEVEL" // those have a default in stack.env
	}
	return all, decided, nil
}
