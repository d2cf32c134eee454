package stack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// variablesFile holds the variables of process-compose.yaml, passwords included.
const variablesFile = "stack.env"

// NotifyDefaults returns the variables that say how notify sends mails and SMS, and to whom it sends alerts: to the demo's inbox, unless a
// person chooses otherwise.
func NotifyDefaults() map[string]string {
	return map[string]string{"EMAIL_PROVIDER": "demo", "SMTP_ADDR": "", "SMTP_TLS": "", "SMTP_CA": "", "SMTP_HELLO": "", "SMTP_FROM": "",
		"SMTP_USERNAME": "", "SMTP_PASSWORD": "", "SMS_PROVIDER": "demo", "SMS_URL": "", "SMS_TOKEN": "", "OPERATORS_EMAIL": "operator@example.com"}
}

// Chosen returns the variables of environ with which a person configures a stack: see system.Chosen.
func Chosen(root string, environ []string) (map[string]string, error) {
	settings, err := system.Settings(root)
	if err != nil {
		return nil, err
	}
	decided, err := decided(root)
	if err != nil {
		return nil, err
	}
	return system.Chosen(environ, settings, func(name string) string {
		if decided[strings.TrimSuffix(name, "_FILE")] {
			return "the stack decides it: unset it, or start that service by hand"
		}
		return ""
	})
}

// decided returns the variables that process-compose.yaml sets to what nobody chooses.
func decided(root string) (map[string]bool, error) {
	text, err := os.ReadFile(projectFile(root))
	var project struct {
		Environment []string
		Processes   map[string]struct{ Environment []string }
	}
	if err := errors.Join(err, yaml.Unmarshal(text, &project)); err != nil {
		return nil, err
	}
	assignments := project.Environment
	for _, p := range project.Processes {
		assignments = slices.Concat(assignments, p.Environment)
	}
	names := map[string]bool{}
	for _, assignment := range assignments {
		name, _, _ := strings.Cut(assignment, "=")
		_, notify := NotifyDefaults()[name]
		names[name] = !notify && name != "LOG_LEVEL" // those have a default in stack.env
	}
	return names, nil
}

// variables returns the contents of stack.env.
func variables(root, dir string, ports map[string]int, sec prepare.Secrets, o Options) map[string]string {
	replicas := max(1, o.Replicas)
	// The list by which others find all instances.
	all := func(name, role, scheme string) string {
		var addrs []string
		for _, instance := range system.Find(name).Instances(replicas) {
			addrs = append(addrs, scheme+at(ports[system.PortVariable(instance, role)]))
		}
		return strings.Join(addrs, ",")
	}
	database := func(service string) string {
		port := strconv.Itoa(ports[system.PortVariable("mariadb", "")])
		if o.DatabaseVia == nil {
			return port
		}
		return o.DatabaseVia(service, port)
	}
	v := map[string]string{
		"DATA":               dir,
		"BIN":                filepath.Join(root, "bin"),
		"OS_USER":            userName(),
		"FAULTS":             strconv.FormatBool(o.Faults),
		"LOG_LEVEL":          "info",
		"DTM_LOG_LEVEL":      "error", // at info DTM logs 10 KB per payment
		"IDENTITY_KEYS":      filepath.Join(dir, "keys/identity"),
		"MEMBER_SIGNING_KEY": filepath.Join(dir, "keys/member/k1.pem"),
		"BRANCH_KEYS":        sec.BranchKeys(),
		"MQ_KEYS":            sec.EventKeys(),
		"REPLICAS":           strconv.Itoa(replicas),
		"REDIS_ADDR":         all("redis", "", ""),
		"QUEUES_ADDR":        all("queues", "", ""),
		"MQ_NAME_SERVERS":    all("namesrv", "", ""),
		"DTM_ADDR":           all("dtm", system.GRPC, ""),
		"DTM_ADMIN":          all("dtm", "", "http://"),
		"DTM_PASSWORD":       sec.MySQL["dtm"],
		"DTM_OWNER_PASSWORD": sec.MySQL[prepare.Owner("dtm")],
		"DTM_STORE_PORT":     database("dtm"),
	}
	for _, service := range system.Databases() {
		v[system.Variable(service)+"_ADDR"] = all(service, "", "")
		addr := here + ":" + database(service)
		v[system.Variable(service)+"_DSN"], v[system.Variable(service)+"_MIGRATE_DSN"] = sec.DSN(service, addr), sec.OwnerDSN(service, addr)
	}
	maps.Copy(v, NotifyDefaults())
	for variable, port := range ports {
		v[variable] = strconv.Itoa(port)
	}
	maps.Copy(v, o.Env)
	return v
}

// at returns the address of a port.
func at(port int) string { return here + ":" + strconv.Itoa(port) }

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "root"
}

// checkValues returns an error for a value that stack.env cannot hold.
func checkValues(env map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.ContainsAny(env[name], "'\n") {
			return fmt.Errorf("%s=%s: a value cannot have a single quote or a line break in it", name, env[name])
		}
	}
	return nil
}

// checkChoice returns an error for what a person cannot choose, so that no running stack is stopped for it.
func checkChoice(o Options) error {
	_, claims, err := choosePorts(o)
	for _, c := range claims {
		c.Close()
	}
	return errors.Join(checkValues(o.Env), err)
}

func writeVariables(dir string, vars map[string]string) error {
	var b bytes.Buffer
	b.WriteString("# Written by each start. Passwords inside.\n")
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "%s='%s'\n", name, vars[name])
	}
	return prepare.Secret(filepath.Join(dir, variablesFile), b.Bytes())
}

func readVariables(dir string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, variablesFile))
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		if name, value, ok := strings.Cut(scan.Text(), "="); ok {
			vars[name] = strings.Trim(value, "'")
		}
	}
	return vars, nil
}
