package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/demo"
	"example.com/fourfold/deploy/local/stack"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// up brings the stack up, with its members and the catalogue. replicas is as in stack.Options.
func up(ctx context.Context, data string, replicas int) (*stack.Stack, error) {
	start := time.Now()
	env, err := stack.Chosen(os.Environ())
	if err != nil {
		return nil, err
	}
	s, err := stack.Up(ctx, stack.Options{Dir: data, Replicas: replicas, Faults: true, Env: env, Log: os.Stdout})
	if err != nil {
		return nil, err
	}
	step := progress.New(os.Stdout).Step("seed")
	if _, err := s.Seed(ctx); err != nil {
		step.Fail()
		return nil, err
	}
	products, err := demo.Catalogue(ctx, s.Dir())
	if err != nil {
		step.Fail()
		return nil, err
	}
	step.Done("an operator, a shopper, %d products", products)
	fmt.Printf("\n  Up in %.1f s.\n", time.Since(start).Seconds())
	return s, nil
}

// runDemo brings the stack up and shows the demo, or an outage of the broker, up to the books.
func runDemo(ctx context.Context, data string, replicas int, outage bool) error {
	s, err := up(ctx, data, replicas)
	if err != nil {
		return err
	}
	d, err := demo.New(ctx, s.Dir(), s)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	tell := d.Tell
	if outage {
		tell = d.Outage
	}
	wrong := tell(ctx, os.Stdout, progress.Color(os.Stdout))
	if wrong != nil && !errors.Is(wrong, demo.ErrBooks) && !errors.Is(wrong, demo.ErrOnce) {
		return wrong
	}
	if err := writeStatus(ctx, s); err != nil {
		return err
	}
	if err := writeAddresses(data); err != nil {
		return err
	}
	return wrong
}

// live does one more thing in a stack that is up, and shows it.
func live(ctx context.Context, data, command string) error {
	s, err := stack.Open(data)
	if err != nil {
		return err
	}
	if err := s.Current(); err != nil {
		return err
	}
	if err := s.WaitHealthy(ctx); err != nil {
		return err
	}
	if _, err := s.Seed(ctx); err != nil {
		return err
	}
	d, err := demo.New(ctx, s.Dir(), s)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	color := progress.Color(os.Stdout)
	switch command {
	case "signup":
		s, err := d.SignUp(ctx)
		if err != nil {
			return err
		}
		s.Write(os.Stdout, "A shopper signs up", color)
	case "pay":
		p, err := d.Pay(ctx)
		if err != nil {
			return err
		}
		p.Write(os.Stdout, "A payment", color)
	case "ship":
		s, err := d.Ship(ctx)
		if err != nil {
			return err
		}
		s.Write(os.Stdout, "The warehouse picks, ships and delivers a paid order", color)
	case "refund":
		r, err := d.Refund(ctx)
		if err != nil {
			return err
		}
		r.Write(os.Stdout, "An order is paid, and refunded before it is picked", color)
	}
	fmt.Println()
	return nil
}

// generation shows in which generation a service numbers its events; with begin it begins a new one first.
func generation(ctx context.Context, data, service string, begin bool) error {
	s, err := stack.Open(data)
	if err != nil {
		return err
	}
	if err := s.Current(); err != nil {
		return err
	}
	of := s.Generation
	if begin {
		of = s.NewGeneration
	}
	id, err := of(ctx, service)
	if err != nil {
		return err
	}
	if id == "" {
		id = "the first; its database was never restored from a backup"
	}
	fmt.Printf("  %s numbers its events in generation  %s\n", service, id)
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

// logs replaces this process by tail -F.
func logs(data, service string) error {
	files := []string{filepath.Join(data, "log", service+".log")}
	if service == "" {
		files, _ = filepath.Glob(filepath.Join(data, "log", "*.log"))
	}
	if len(files) == 0 {
		return stack.ErrDown
	}
	if _, err := os.Stat(files[0]); err != nil {
		return fmt.Errorf("there is no log %s: SERVICE is one of %s", files[0], strings.Join(system.Names(), ", "))
	}
	tail, err := exec.LookPath("tail")
	if err != nil {
		return err
	}
	return syscall.Exec(tail, append([]string{"tail", "-n", "40", "-F"}, files...), os.Environ())
}
