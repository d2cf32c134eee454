package stack

import (
	"context"
	"maps"
	"path/filepath"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// Seed creates the members that every system has, and returns where everything is and who signs in, which it also writes to demo.json. The
// passwords are those of the first start.
func (s *Stack) Seed(ctx context.Context) (system.Target, error) {
	t := s.Target()
	err := prepare.Seed(t, func(env map[string]string, program string, args ...string) (string, error) {
		own := s.logins(program)
		maps.Copy(own, env)
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
	t.MySQL.Host, t.MySQL.Port = here, atoi(s.vars["PORT_MARIADB"])
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

// Run runs the program of a service, or another one of bin/, to its end, with its logins at the database, and returns its output.
func (s *Stack) Run(ctx context.Context, program string, args ...string) (string, error) {
	return s.command(ctx, s.logins(program), program, args...)
}

// logins returns the variables by which a service's program reaches its database.
func (s *Stack) logins(program string) map[string]string {
	env := map[string]string{}
	for _, kind := range []string{"_DSN", "_MIGRATE_DSN"} {
		name := system.Variable(program) + kind
		env[name] = s.vars[name]
	}
	return env
}

// command runs a program of bin/ to its end and returns its output.
func (s *Stack) command(ctx context.Context, env map[string]string, program string, args ...string) (string, error) {
	return prepare.Run(ctx, env, filepath.Join(s.root, "bin", program), args...)
}
