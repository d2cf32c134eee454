package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/local/demo"
	"example.com/fourfold/deploy/local/progress"
	"example.com/fourfold/deploy/local/stack"
)

// up brings the stack up, with its members and the catalogue.
func up(ctx context.Context, data string) (*stack.Stack, stack.Seeded, error) {
	start := time.Now()
	s, err := stack.Up(ctx, stack.Options{Dir: data, Faults: true, Env: chosen(os.Environ()), Log: os.Stdout})
	if err != nil {
		return nil, stack.Seeded{}, err
	}
	step := progress.New(os.Stdout).Step("seed")
	seeded, err := s.Seed(ctx)
	if err != nil {
		step.Fail()
		return nil, stack.Seeded{}, err
	}
	products, err := demo.Catalogue(ctx, s, seeded.Operator)
	if err != nil {
		step.Fail()
		return nil, stack.Seeded{}, err
	}
	step.Done("an operator, a shopper, %d products", products)
	fmt.Printf("\n  Up in %.1f s.\n", time.Since(start).Seconds())
	return s, seeded, nil
}

// chosen are the variables by which a person configures the stack: PORT_<NAME> and LOG_LEVEL.
func chosen(environ []string) map[string]string {
	env := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "PORT_") || name == "LOG_LEVEL" {
			env[name] = value
		}
	}
	return env
}

// runDemo shows a payment that succeeds and one that is refused.
func runDemo(ctx context.Context, data string) error {
	s, seeded, err := up(ctx, data)
	if err != nil {
		return err
	}
	d, err := demo.New(ctx, s, seeded)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	first, again, err := d.First(ctx)
	if err != nil {
		return err
	}
	terminal := progress.Terminal(os.Stdout)
	if again {
		fmt.Printf("\n  The first payments were made on %s; nothing was paid now.\n", first.Paid.At.Format("2 January 2006 at 15:04"))
	}
	first.Paid.Write(os.Stdout, "A payment", terminal)
	first.Refused.Write(os.Stdout, "The same while the shopper's credit account is frozen", terminal)
	if err := writeStatus(ctx, s); err != nil {
		return err
	}
	writeAddresses(s, seeded)
	return nil
}

// pay pays one more order.
func pay(ctx context.Context, data string) error {
	s, err := stack.Open(data)
	if err != nil {
		return err
	}
	if err := s.WaitHealthy(ctx); err != nil {
		return err
	}
	seeded, err := s.Seed(ctx)
	if err != nil {
		return err
	}
	d, err := demo.New(ctx, s, seeded)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	t, err := d.Pay(ctx)
	if err != nil {
		return err
	}
	t.Write(os.Stdout, "A payment", progress.Terminal(os.Stdout))
	fmt.Println()
	return nil
}

func down(ctx context.Context, data string) error {
	step := progress.New(os.Stdout).Step("down")
	ran, err := stack.Down(ctx, data)
	if err != nil {
		step.Fail()
		return err
	}
	if ran {
		step.Done("everything is stopped; the data stays in %s", data)
	} else {
		step.Done("nothing was running")
	}
	return nil
}

// logs becomes tail -F.
func logs(data, service string) error {
	files := []string{filepath.Join(data, "log", service+".log")}
	if service == "" {
		files, _ = filepath.Glob(filepath.Join(data, "log", "*.log"))
	}
	if len(files) == 0 {
		return stack.ErrDown
	}
	if _, err := os.Stat(files[0]); err != nil {
		return fmt.Errorf("there is no log %s: SERVICE is one of %s", files[0], strings.Join(stack.Names(), ", "))
	}
	tail, err := exec.LookPath("tail")
	if err != nil {
		return err
	}
	return syscall.Exec(tail, append([]string{"tail", "-n", "40", "-F"}, files...), os.Environ())
}
