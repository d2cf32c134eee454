package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Account is the login of a member.
type Account struct {
	MemberID string `json:"-"`
	Login    string `json:"login"`
	Password string `json:"password"`
}

// Seeded are the members that every stack has.
type Seeded struct {
	Operator Account `json:"operator"`
	Shopper  Account `json:"shopper"`
}

// shopperPoints is how many points the shopper starts with.
const shopperPoints = 1190

// Seed creates an operator, and a shopper with 1190 points, unless they are there, and writes demo.json: addresses and logins. Their passwords
// are those of the first start.
func (s *Stack) Seed(ctx context.Context) (Seeded, error) {
	seeded := Seeded{
		Operator: Account{Login: "operator@example.com", Password: s.secrets.Operator},
		Shopper:  Account{Login: "demo@example.com", Password: s.secrets.Shopper},
	}
	for _, a := range []struct {
		*Account
		role, phone, name string
	}{
		{&seeded.Operator, "operator", "+8613800000001", "Olga Operator"},
		{&seeded.Shopper, "shopper", "+8613800000002", "Demo Shopper"},
	} {
		id, err := s.command(ctx, map[string]string{"MEMBER_DSN": s.vars["MEMBER_DSN"], "SEED_PASSWORD": a.Password},
			"member", "seed", "-role", a.role, "-login", a.Login, "-phone", a.phone, "-name", a.name)
		if err != nil {
			return Seeded{}, err
		}
		a.MemberID = id
	}
	_, err := s.command(ctx, map[string]string{"CREDIT_DSN": s.vars["CREDIT_DSN"]},
		"credit", "seed", "-member", seeded.Shopper.MemberID, "-points", strconv.Itoa(shopperPoints), "-source", "seed:demo")
	if err != nil {
		return Seeded{}, err
	}
	data, err := json.MarshalIndent(struct {
		Gateway string `json:"gateway"`
		Seeded
		MySQL Database `json:"mysql"`
	}{s.Gateway(), seeded, s.Reader()}, "", "  ")
	if err != nil {
		return Seeded{}, err
	}
	return seeded, writeSecret(filepath.Join(s.dir, "demo.json"), append(data, '\n'))
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
