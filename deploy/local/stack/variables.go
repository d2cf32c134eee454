package stack

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// variablesFile holds the variables of process-compose.yaml, passwords included.
const variablesFile = "stack.env"

// Services returns the names of our programs that have a database: all but the gateway.
func Services() []string { return slices.Clone(services) }

var services = []string{"order", "inventory", "credit", "wms", "member", "notify"}

// NotifyDefaults returns the variables that say how notify sends mails and SMS, and to whom it sends alerts: to the demo's inbox, unless a
// person chooses otherwise.
func NotifyDefaults() map[string]string {
	return map[string]string{"EMAIL_PROVIDER": "demo", "SMTP_ADDR": "", "SMTP_FROM": "", "SMTP_USERNAME": "", "SMTP_PASSWORD": "",
		"SMS_PROVIDER": "demo", "SMS_URL": "", "SMS_TOKEN": "", "OPERATORS_EMAIL": "operator@example.com"}
}

// variables returns the contents of stack.env.
func variables(root, dir string, ports map[string]string, sec secrets, o Options) map[string]string {
	replicas := max(1, o.Replicas)
	// The address on which an instance listens, and the list by which others find all instances.
	at := func(name, role string) string { return "127.0.0.1:" + ports["PORT_"+variable(name, role)] }
	all := func(name, role, scheme string) string {
		addrs := []string{scheme + at(name, role)}
		if replicas > 1 {
			addrs = append(addrs, scheme+at(name+second, role))
		}
		return strings.Join(addrs, ",")
	}
	database := func(service string) string {
		if o.DatabaseVia == nil {
			return ports["PORT_MARIADB"]
		}
		return o.DatabaseVia(service, ports["PORT_MARIADB"])
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
		"BRANCH_KEYS":        "k1:" + sec.BranchKey,
		"MQ_KEYS":            "k1:" + sec.EventKey,
		"REPLICAS":           strconv.Itoa(replicas),
		"REDIS_ADDR":         at("redis", ""),
		"QUEUES_ADDR":        at("queues", ""),
		"MQ_NAME_SERVERS":    at("namesrv", ""),
		"DTM_GRPC_ADDR":      all("dtm", "_GRPC", ""),
		"DTM_ADMIN":          all("dtm", "", "http://"),
		"DTM_PASSWORD":       sec.MySQL["dtm"],
		"DTM_STORE_PORT":     database("dtm"),
	}
	for _, service := range services {
		v[variable(service, "_GRPC_ADDR")] = all(service, "", "")
		v[variable(service, "_DSN")] = dsn(service, sec.MySQL[service], database(service), "shop_"+service)
	}
	for _, suffix := range []string{"", second}[:replicas] {
		v[variable("gateway"+suffix, "_HTTP_ADDR")] = at("gateway"+suffix, "")
		v[variable("dtm"+suffix, "_ADMIN_ADDR")] = at("dtm"+suffix, "")
		for _, service := range append([]string{"gateway"}, services...) {
			v[variable(service+suffix, "_ADMIN_ADDR")] = at(service+suffix, "_ADMIN")
		}
	}
	maps.Copy(v, NotifyDefaults())
	maps.Copy(v, ports)
	maps.Copy(v, o.Env)
	return v
}

func dsn(user, password, port, db string) string {
	return fmt.Sprintf("%s:%s@tcp(127.0.0.1:%s)/%s", user, password, port, db)
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "root"
}

func writeVariables(dir string, vars map[string]string) error {
	var b bytes.Buffer
	b.WriteString("# Written by each start. Passwords inside.\n")
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if strings.ContainsAny(vars[name], "'\n") {
			return fmt.Errorf("%s=%s: a value cannot have a single quote or a line break in it", name, vars[name])
		}
		fmt.Fprintf(&b, "%s='%s'\n", name, vars[name])
	}
	return writeSecret(filepath.Join(dir, variablesFile), b.Bytes())
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
