package system

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Root returns the folder of the repository that the working folder is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "deploy/local/process-compose.yaml")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside the repository: change into it", dir)
		}
	}
}

// Settings returns the variables that the services' config.yaml name, with their defaults.
func Settings(root string) (map[string]string, error) {
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(root, "*", "config.yaml"))
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		for _, match := range regexp.MustCompile(`\$\{(\w+):(.*)\}`).FindAllSubmatch(text, -1) {
			all[string(match[1])] = string(match[2])
		}
	}
	return all, err
}

// Faults is the variable that allows failpoints, which crash or hold a process at a named point. They are off unless a person, or the demo,
// says so.
const Faults = "FAULTS"

// Chosen returns the variables of environ with which a person configures a system: PORT_<NAME> and PORT_OFFSET, and the settings, as
// LIMIT_CALLS, or SMTP_PASSWORD_FILE for what is in a file. It fails for settings that cannot be chosen, because they would have to be
// ignored: refused returns the reason and the remedy, "" for the others.
func Chosen(environ []string, settings map[string]string, refused func(name string) string) (map[string]string, error) {
	ports := Ports(MaxReplicas)
	env := map[string]string{}
	var errs []error
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		setting := strings.TrimSuffix(name, "_FILE")
		_, known := settings[setting]
		instead, listens := strings.CutSuffix(setting, "_LISTEN")
		switch {
		case value == "": // counts as unset
		case name == Faults:
			on, err := strconv.ParseBool(value)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s=%s: it is 1 or 0", name, value))
			}
			env[name] = strconv.FormatBool(on)
		case ports[name] != 0, name == PortOffset, name == PortBrokerFast, known && refused(name) == "":
			env[name] = value
		case known && listens:
			errs = append(errs, fmt.Errorf("%s=%s: everything listens on 127.0.0.1 here; PORT_%s chooses the port", name, value, instead))
		case known:
			errs = append(errs, fmt.Errorf("%s is set, and %s", name, refused(name)))
		}
	}
	return env, errors.Join(errs...)
}
