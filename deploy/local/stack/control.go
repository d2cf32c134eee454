package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/system"
)

// PID returns the process id of a running process.
func (s *Stack) PID(ctx context.Context, name string) (int, error) {
	state, err := s.super.process(ctx, name)
	if err != nil {
		return 0, err
	}
	if !state.running() {
		return 0, fmt.Errorf("%s does not run (%s)", name, strings.ToLower(state.Status))
	}
	return state.Pid, nil
}

// Kill kills a process with SIGKILL and returns when it is gone. It is started again a second later: see WaitHealthy.
func (s *Stack) Kill(ctx context.Context, name string) error {
	pid, err := s.PID(ctx, name)
	if err != nil {
		return err
	}
	signal(s.dir, []member{{pid, name}}, syscall.SIGKILL)
	return awaitGone(ctx, pid)
}

// Stop stops a process in an orderly way (SIGKILL after 25 s) and returns when it is gone. It stays stopped until Start. Stop does nothing when
// the process is stopped already.
func (s *Stack) Stop(ctx context.Context, name string) error {
	if _, err := s.super.process(ctx, name); err != nil {
		return err
	}
	// It fails when the process is, or has just been, stopped: what counts is the state.
	refusal := s.super.stopProcess(ctx, name)
	for {
		state, err := s.super.process(ctx, name)
		if err != nil {
			return err
		}
		switch state.Status {
		case "Completed", "Error", "Skipped":
			return awaitGone(ctx, state.Pid)
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("stop %s: %w", name, ctx.Err()), refusal)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Start starts a process that was stopped and returns when it runs, which is before it is healthy. Start does nothing when the process runs
// already.
func (s *Stack) Start(ctx context.Context, name string) error {
	for {
		refusal := s.super.startProcess(ctx, name)
		state, err := s.super.process(ctx, name)
		if err != nil {
			return err
		}
		if state.running() {
			return nil
		}
		// "already running" is also the answer for a process that has not quite ended.
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("start %s: %w", name, ctx.Err()), refusal)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Down stops all processes of this stack and nothing else. The data stays in its folder.
func (s *Stack) Down(ctx context.Context) error {
	_, err := Down(ctx, s.dir)
	if s.watch != nil {
		err = errors.Join(err, s.watch.end())
		s.watch = nil
	}
	s.release()
	return err
}

// Down stops all processes of the stack in a data folder and nothing else, even when its supervisor was killed. It reports whether anything ran.
func Down(ctx context.Context, dir string) (ran bool, err error) {
	if dir, err = dataDir(dir); err != nil {
		return false, err
	}
	unlock, err := lock(ctx, dir, nil)
	if err != nil {
		return false, err
	}
	defer unlock()
	ran = len(members(dir)) > 0
	return ran, stopAll(ctx, dir)
}

// patience is how long each of the two ways to stop may take.
const patience = 60 * time.Second

// stopAll asks the supervisor to stop everything in order, then ends the remaining processes, which it finds by their mark: first by SIGTERM, at
// last by SIGKILL.
func stopAll(ctx context.Context, dir string) error {
	if len(members(dir)) == 0 {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, patience)
	err := newSupervisor(dir).stopProject(asked)
	if err == nil {
		err = awaitAllGone(asked, dir)
	}
	cancel()
	if err == nil {
		return nil
	}
	// The supervisor is gone by now; it would start them again.
	for _, m := range members(dir) {
		if m.name == "process-compose" {
			signal(dir, []member{m}, syscall.SIGKILL)
			if err := awaitGone(ctx, m.pid); err != nil {
				return err
			}
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		signal(dir, members(dir), sig)
		waited, cancel := context.WithTimeout(ctx, patience/3)
		err = awaitAllGone(waited, dir)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func awaitAllGone(ctx context.Context, dir string) error {
	for {
		left := members(dir)
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s (process %d) does not end: %w", left[0].name, left[0].pid, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Status returns the status of every process, and of the supervisor at the end. Memory that several processes have in common counts in parts. It
// fails when the supervisor does not answer.
func (s *Stack) Status(ctx context.Context) ([]system.Status, error) {
	if !s.super.alive(ctx) {
		left := members(s.dir)
		if len(left) == 0 {
			return nil, ErrDown
		}
		return nil, fmt.Errorf(
			"process-compose was killed and %d processes are left over: `make up` starts anew, `make down` ends them", len(left))
	}
	var all []system.Status
	for _, name := range s.Names() {
		state, err := s.super.process(ctx, name)
		if err != nil {
			return nil, err
		}
		p := system.Status{Name: name, Restarts: state.Restarts}
		if state.running() {
			p.PID, p.Memory, p.Err = state.Pid, memory(state.Pid), s.Health(ctx, name)
		} else {
			p.Err = fmt.Errorf("does not run (%s)", strings.ToLower(state.Status))
		}
		all = append(all, p)
	}
	for _, m := range members(s.dir) {
		if m.name == "process-compose" && os.Getpid() != m.pid {
			all = append(all, system.Status{Name: m.name, PID: m.pid, Memory: memory(m.pid)})
		}
	}
	return all, nil
}

// ErrDown is returned by Status for a stack that is not up.
var ErrDown = errors.New("the stack is down: `make up`")
