package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"example.com/fourfold/deploy/compose"
	"example.com/fourfold/deploy/demo"
	"example.com/fourfold/deploy/generation"
	"example.com/fourfold/deploy/local/stack"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// running is a system that was brought up in one of the two ways: a *stack.Stack natively, a *compose.System in containers.
type running interface {
	demo.Control
	generation.System
	// Seed returns where everything is, and who signs in, and writes that to the data folder. It creates the members that are not there.
	Seed(ctx context.Context) (system.Target, error)
	// Current returns an error for a system that lacks what this version expects of it.
	Current(ctx context.Context) error
	// Status returns the status of every process.
	Status(ctx context.Context) ([]system.Status, error)
	// Disk returns the disk that holds the broker's store.
	Disk(ctx context.Context) (machine.Disk, error)
	// Logs returns the command that follows the log of a process, "" for all.
	Logs(process string) (*exec.Cmd, error)
}

// native is the variable that forces the way without containers.
const native = "NATIVE"

var errDown = errors.New("the system is down: `make up`")

// find returns the system of the data folder that is up, or errDown.
func find(ctx context.Context, data string) (running, error) {
	if stack.Running(data) {
		return stack.Open(data)
	}
	s, err := compose.Open(ctx, compose.Options{Dir: data})
	if err != nil {
		return nil, errDown // without an engine there are no containers
	}
	up, err := s.Running(ctx)
	if err == nil && !up {
		err = errDown
	}
	return s, err
}

// bringUp brings the system up, with failpoints when faults says so or FAULTS is set: in the way in which it is up or has its data, else in
// containers where an engine answers and images can be had.
func bringUp(ctx context.Context, data string, replicas int, faults bool) (running, error) {
	log := progress.New(os.Stdout)
	containers, why, err := choose(ctx, data)
	if err != nil {
		return nil, err
	}
	root, err := system.Root()
	if err != nil {
		return nil, err
	}
	if !containers {
		log.Say("way", "natively: %s", why)
		env, err := stack.Chosen(root, os.Environ())
		if err != nil {
			return nil, err
		}
		if faults {
			env[system.Faults] = "true"
		}
		return stack.Up(ctx, stack.Options{Dir: data, Replicas: replicas, Env: env, Log: os.Stdout})
	}
	log.Say("way", "in containers: %s", why)
	env, err := compose.Chosen(root, os.Environ())
	if err != nil {
		return nil, err
	}
	if faults {
		env[system.Faults] = "true"
	}
	s, err := compose.Open(ctx, compose.Options{Dir: data, Replicas: replicas, Env: env, Log: os.Stdout})
	if err != nil {
		return nil, err
	}
	return s, s.Up(ctx)
}

// choose returns whether the system is to be brought up in containers, and why.
func choose(ctx context.Context, data string) (containers bool, why string, err error) {
	forced := os.Getenv(native) != "" && os.Getenv(native) != "0"
	if stack.Running(data) {
		return false, "it is up so", nil
	}
	s, engineErr := compose.Open(ctx, compose.Options{Dir: data, Log: os.Stdout})
	if engineErr == nil {
		up, err := s.Running(ctx)
		switch {
		case err != nil:
			return false, "", err
		case up && forced:
			return false, "", fmt.Errorf("%s=%s, and the system is up in containers: `make down` first", native, os.Getenv(native))
		case up:
			return true, "it is up so", nil
		}
	}
	switch {
	case forced:
		return false, native + "=" + os.Getenv(native), nil
	case stack.HasData(data):
		return false, "its data is in " + data, nil
	case engineErr != nil:
		return false, firstLine(engineErr), nil
	}
	if err := s.CanBuild(ctx); err != nil {
		return false, firstLine(err), ctx.Err()
	}
	return true, "a Docker engine answers (" + native + "=1 does without)", nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// images builds the programs and the images of the containers.
func images(ctx context.Context, data string) error {
	s, err := compose.Open(ctx, compose.Options{Dir: data, Log: os.Stdout})
	if err != nil {
		return err
	}
	return s.Build(ctx)
}
