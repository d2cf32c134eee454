package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/compose"
	"example.com/fourfold/deploy/demo"
	"example.com/fourfold/deploy/generation"
	"example.com/fourfold/deploy/local/stack"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// up brings the system up, with its members and the catalogue. replicas is as in stack.Options; faults allows failpoints.
func up(ctx context.Context, data string, replicas int, faults bool) (running, error) {
	start := time.Now()
	s, err := bringUp(ctx, data, replicas, faults)
	if err != nil {
		return nil, err
	}
	step := progress.New(os.Stdout).Step("seed")
	if _, err := s.Seed(ctx); err != nil {
		step.Fail()
		return nil, err
	}
	products, err := demo.Catalogue(ctx, data)
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
	s, err := up(ctx, data, replicas, true) // a payment is held at a failpoint to be read
	if err != nil {
		return err
	}
	d, err := demo.New(ctx, data, s)
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
	s, err := find(ctx, data)
	if err != nil {
		return err
	}
	if err := s.Current(ctx); err != nil {
		return err
	}
	if err := s.WaitHealthy(ctx); err != nil {
		return err
	}
	if _, err := s.Seed(ctx); err != nil {
		return err
	}
	d, err := demo.New(ctx, data, s)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if command == "pay" || command == "refund" {
		if err := d.Holds(ctx); err != nil {
			return err
		}
	}
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

// showGeneration shows in which generation a service numbers its events; with begin it begins a new one first.
func showGeneration(ctx context.Context, data, service string, begin bool) error {
	s, err := find(ctx, data)
	if err != nil {
		return err
	}
	if err := s.Current(ctx); err != nil {
		return err
	}
	of := generation.Of
	if begin {
		unlock, err := system.Lock(ctx, system.LockFile(data), func() {}) // a `make up` meanwhile would start what is stopped
		if err != nil {
			return err
		}
		defer unlock()
		of = generation.Begin
	}
	id, err := of(ctx, s, service)
	if err != nil {
		return err
	}
	if id == "" {
		id = "the first; its database was never restored from a backup"
	}
	fmt.Printf("  %s numbers its events in generation  %s\n", service, id)
	return nil
}

// down stops the system of a data folder, in whichever way it was brought up. The data stays.
func down(ctx context.Context, data string) error {
	step := progress.New(os.Stdout).Step("down")
	done, err := stopAll(ctx, data)
	if err != nil {
		step.Fail()
		return err
	}
	step.Done("%s", done)
	return nil
}

// stopAll returns what it has done.
func stopAll(ctx context.Context, data string) (string, error) {
	ran, err := stack.Down(ctx, data)
	if ran || err != nil {
		return "everything is stopped; the data stays in " + data, err
	}
	s, err := compose.Open(ctx, compose.Options{Dir: data})
	if err != nil {
		return "nothing was running", nil //nolint:nilerr // without an engine there are no containers
	}
	containers, err := s.Containers(ctx)
	if err != nil || len(containers) == 0 {
		return "nothing was running", err
	}
	return "everything is stopped; the data stays in Docker's volumes", s.Down(ctx, false)
}

// logs replaces this process by one that follows the logs.
func logs(ctx context.Context, data, process string) error {
	if process != "" && system.Find(process).Name == "" {
		return fmt.Errorf("there is no process %s: SERVICE is one of %s", process, strings.Join(system.Names(), ", "))
	}
	s, err := find(ctx, data)
	if errors.Is(err, errDown) && stack.HasData(data) { // they can be read afterwards
		s, err = stack.Open(data)
	}
	if err != nil {
		return err
	}
	cmd, err := s.Logs(process)
	if err == nil {
		err = cmd.Err
	}
	if err == nil && cmd.Dir != "" {
		err = os.Chdir(cmd.Dir)
	}
	if err != nil {
		return err
	}
	return syscall.Exec(cmd.Path, cmd.Args, cmd.Environ())
}
