package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/fourfold/deploy/build"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/rocketmq/setup"
	"example.com/fourfold/deploy/system"
)

// heal brings a running stack to the state that Up promises.
func (s *Stack) heal(ctx context.Context, o Options, log *progress.Log) error {
	if err := machine.CheckDisk(store(s.dir), log); err != nil {
		return err
	}
	if !o.SkipBuild {
		if err := build.Programs(ctx, s.root, log, supervisorTool); err != nil {
			return err
		}
	}
	// A person who removed the broker's data removed these files too.
	if err := setup.Write(brokerSettings(s.root, s.dir, s.vars)); err != nil {
		return remedied(err)
	}
	step := log.Step("start")
	var again []string
	for _, name := range s.Names() {
		state, err := s.super.process(ctx, name)
		if err != nil {
			step.Fail()
			return remedied(err)
		}
		if state.running() && !replaced(state.Pid) {
			continue
		}
		step.Note("%s", name)
		if err := errors.Join(s.Stop(ctx, name), s.Start(ctx, name)); err != nil {
			step.Fail()
			return remedied(err)
		}
		again = append(again, name)
	}
	if err := s.awaitAll(ctx, step); err != nil {
		step.Fail()
		return remedied(err)
	}
	if len(again) == 0 {
		step.Done("up already, all %d processes healthy", len(s.Names()))
	} else {
		step.Done("up already; started again: %s", strings.Join(again, ", "))
	}
	return nil
}

// fingerprintVariable holds, in stack.env, the fingerprint with which the stack was brought up.
const fingerprintVariable = "FINGERPRINT"

// fingerprint returns a hash of process-compose's files, of what the broker is started with, and of the names of the variables in stack.env,
// except those that the caller added. Programs that are built anew may need what a stack with another fingerprint does not have.
func fingerprint(root string, replicas int) (string, error) {
	o := Options{Replicas: replicas}
	ports, _, err := choosePorts(o)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(variables("", "", ports, prepare.Secrets{}, o))) {
		fmt.Fprintln(h, name)
	}
	project, err := projectFiles(root, replicas)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(project)) {
		h.Write(project[name])
	}
	broker, err := setup.Files(setup.Settings{Root: root})
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(broker)) {
		fmt.Fprintln(h, name, broker[name])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// outdated returns why a running stack cannot become what o asks for without being stopped, or "" when it can. What o does not name may be as it
// is.
func (s *Stack) outdated(o Options) string {
	now, err := fingerprint(s.root, s.Replicas())
	switch {
	case o.Replicas != 0 && o.Replicas != s.Replicas():
		return fmt.Sprintf("it ran with %d of each", s.Replicas())
	case err != nil || s.vars[fingerprintVariable] != now:
		return "it was brought up by another version"
	}
	defaults, err := system.Settings(s.root)
	if err != nil {
		return "" // what it runs with cannot be told
	}
	defaults[system.PortOffset] = "0"
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		had, known := s.vars[name]
		if !known {
			had, known = defaults[name]
		}
		if known && had != o.Env[name] || !known && !strings.HasPrefix(name, "PORT_") { // of an instance that does not run
			return "it ran with another " + name
		}
	}
	return ""
}

// ErrOutdated is returned by Current for a stack that another version brought up.
var ErrOutdated = errors.New("another version brought this stack up: `make up` starts it anew, and the data stays")

// Current returns ErrOutdated when the stack lacks what this version expects of it.
func (s *Stack) Current(context.Context) error {
	if s.outdated(Options{}) != "" {
		return ErrOutdated
	}
	return nil
}
