package stack

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// Seed creates the members that every system has, and returns where everything is and who signs in, which it also writes to demo.json. The
// passwords are those of the first start.
func (s *Stack) Seed(ctx context.Context) (system.Target, error) {
	t := s.Target()
	err := prepare.Seed(t, func(env map[string]string, program string, args ...string) (string, error) {
		own := map[string]string{}
		maps.Copy(own, env)
		dsn := system.Variable(program) + "_DSN"
		own[dsn] = s.vars[dsn]
		return s.command(ctx, own, program, args...)
	})
	if err != nil {
		return system.Target{}, err
	}
	return t, t.Write(s.dir)
}

// Target returns where everything is, and who signs in.
func (s *Stack) Target() system.Target {
	t := s.secrets.Target()
	t.Gateway, t.Admin, t.Queues, t.Broker = s.Gateway(), map[string]string{}, s.Queues(), s.addr("broker", "")
	t.MySQL.Host, t.MySQL.Port = here, number(s.vars["PORT_MARIADB"])
	for _, name := range s.Instances("gateway") {
		t.Gateways = append(t.Gateways, s.base(name, ""))
	}
	for _, name := range s.Names() {
		if base := s.Admin(name); base != "" {
			t.Admin[name] = base
		}
	}
	return t
}

// command runs a program of bin/ to its end and returns its output.
func (s *Stack) command(ctx context.Context, env map[string]string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "bin", program), args...)
	cmd.Env = os.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
