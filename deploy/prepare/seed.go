package prepare

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"example.com/fourfold/deploy/system"
)

// shopperPoints is how many points the shopper starts with.
const shopperPoints = 1190

// Target returns what the secrets tell of a system: who signs in, and who reads its databases.
func (s Secrets) Target() system.Target {
	return system.Target{
		Operator: system.Account{Login: "operator@example.com", Password: s.Operator},
		Shopper:  system.Account{Login: "demo@example.com", Password: s.Shopper},
		MySQL:    system.Login{User: Reader, Password: s.MySQL[Reader]},
	}
}

// Seed creates the operator and the shopper of t, unless they are there, the shopper with 1190 points. run runs a program of ours to its end,
// with env besides what it needs to reach its database, and returns its output.
func Seed(t system.Target, run func(env map[string]string, program string, args ...string) (string, error)) error {
	var id string
	for _, a := range []struct {
		system.Account
		role, phone, name string
	}{
		{t.Operator, "operator", "+8613800000001", "Olga Operator"},
		{t.Shopper, "shopper", "+8613800000002", "Demo Shopper"},
	} {
		var err error
		id, err = run(map[string]string{"SEED_PASSWORD": a.Password},
			"member", "seed", "-role", a.role, "-login", a.Login, "-phone", a.phone, "-name", a.name)
		if err != nil {
			return err
		}
	}
	_, err := run(nil, "credit", "seed", "-member", id, "-points", strconv.Itoa(shopperPoints), "-source", "seed:demo")
	return err
}

// Run runs a program of ours to its end, with env besides this process' environment, and returns its output without blanks around it. The error
// holds what it complained of.
func Run(ctx context.Context, env map[string]string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = os.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(program), args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(bytes.TrimSpace(out)), nil
}
