package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// Container is the state of one container.
type Container struct {
	ID      string `json:"ID"`
	Process string `json:"Service"`
	State   string `json:"State"`  // running, exited, …
	Health  string `json:"Health"` // healthy, starting, unhealthy, "" without a check
	Exit    int    `json:"ExitCode"`
}

// Err returns why a process is not healthy, nil when it is.
func (c Container) Err() error {
	switch {
	case c.State == "running" && c.Health == "healthy":
		return nil
	case c.State == "running":
		return fmt.Errorf("its health check says %s", c.Health)
	}
	return fmt.Errorf("does not run (%s, code %d)", c.State, c.Exit)
}

// Containers returns all containers, those that have ended too.
func (s *System) Containers(ctx context.Context) (all []Container, err error) {
	text, err := s.run(ctx, "ps", "--all", "--no-trunc", "--format", "json")
	if err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
		var c Container
		if err := decoder.Decode(&c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// processes returns the containers of the system's processes in the order they are shown, without the jobs. One that is not there has no ID.
func (s *System) processes(ctx context.Context) ([]Container, error) {
	all, err := s.Containers(ctx)
	if err != nil {
		return nil, err
	}
	var found []Container
	for _, name := range s.names() {
		i := slices.IndexFunc(all, func(c Container) bool { return c.Process == name })
		if i < 0 {
			found = append(found, Container{Process: name, State: "not there"})
			continue
		}
		found = append(found, all[i])
	}
	return found, nil
}

// Running reports whether any of the system's processes runs.
func (s *System) Running(ctx context.Context) (bool, error) {
	all, err := s.processes(ctx)
	return slices.ContainsFunc(all, func(c Container) bool { return c.State == "running" }), err
}

// ErrOther is returned by Current for a system that Up did not bring up.
var ErrOther = errors.New("`docker compose up` brought these containers up, with only the gateway's port open: `make up` opens the ports that this needs")

// Current returns ErrOther when what the demo needs is not open.
func (s *System) Current(ctx context.Context) error {
	text, err := s.run(ctx, "ps", "--format", "{{.Ports}}", "mariadb")
	if err == nil && !strings.Contains(text, "->") {
		err = ErrOther
	}
	return err
}

// healthTimeout bounds the wait for everything to become healthy. A database that was killed may have to recover first.
const healthTimeout = 2 * time.Minute

// WaitHealthy waits until the named processes, or all when none is named, are healthy. It gives up after two minutes, or when one of them was
// stopped. The error says which one and why.
func (s *System) WaitHealthy(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	for {
		all, err := s.processes(ctx)
		if err != nil {
			return err
		}
		var sick error
		for _, c := range all {
			if len(names) > 0 && !slices.Contains(names, c.Process) {
				continue
			}
			if reason := c.Err(); reason != nil {
				sick = fmt.Errorf("%s is not healthy: %w", c.Process, reason)
				if c.State == "exited" && c.Exit == 0 || c.ID == "" {
					return sick
				}
			}
		}
		if sick == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(sick, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// sick returns a line for each container that is not healthy, or has failed, with the end of its log.
func (s *System) sick(ctx context.Context) string {
	all, err := s.Containers(ctx)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, c := range all {
		job := c.State == "exited" && c.Exit == 0 || c.State == "running" && c.Health == ""
		if reason := c.Err(); reason != nil && !job && c.State != "created" { // those only wait for others
			said, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "5", c.ID).CombinedOutput()
			fmt.Fprintf(&b, "%s: %s; the end of its log:\n%s\n", c.Process, reason, progress.Tail(string(said), 5))
		}
	}
	return b.String()
}

// Status returns the status of every process. Memory is what the engine counts for its container.
func (s *System) Status(ctx context.Context) ([]system.Status, error) {
	all, err := s.processes(ctx)
	if err != nil {
		return nil, err
	}
	var status []system.Status
	var ids []string
	for _, c := range all {
		p := system.Status{Name: c.Process, Err: c.Err()}
		if c.ID != "" {
			out, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{.State.Pid}} {{.RestartCount}}", c.ID).Output()
			if err != nil {
				return nil, fmt.Errorf("docker inspect: %w", err)
			}
			if _, err := fmt.Sscan(string(out), &p.PID, &p.Restarts); err != nil {
				return nil, fmt.Errorf("docker inspect says %q: %w", out, err)
			}
		}
		if p.PID != 0 {
			ids = append(ids, c.ID)
		}
		status = append(status, p)
	}
	usage, err := Usage(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, c := range all {
		status[i].Memory = int64(usage[c.ID].Used)
	}
	return status, nil
}

// Memory is what a container uses of its limit, in bytes.
type Memory struct{ Used, Limit float64 }

// Usage returns the memory of running containers by their IDs.
func Usage(ctx context.Context, ids []string) (map[string]Memory, error) {
	usage := map[string]Memory{}
	if len(ids) == 0 {
		return usage, nil
	}
	args := append([]string{"stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}"}, ids...)
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("docker stats: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line) // id, used, /, limit
		if len(f) != 4 {
			return nil, fmt.Errorf("docker stats says %q", line)
		}
		used, err := bytesOf(f[1])
		limit, limitErr := bytesOf(f[3])
		if err := errors.Join(err, limitErr); err != nil {
			return nil, err
		}
		usage[f[0]] = Memory{used, limit}
	}
	return usage, nil
}

// bytesOf returns the bytes of "12.5MiB".
func bytesOf(text string) (float64, error) {
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}} {
		if number, ok := strings.CutSuffix(text, unit.name); ok {
			n, err := strconv.ParseFloat(number, 64)
			return n * unit.bytes, err
		}
	}
	return 0, fmt.Errorf("%q is no size", text)
}

// Disk returns the disk that holds the broker's store. The broker must run.
func (s *System) Disk(ctx context.Context) (machine.Disk, error) {
	ports, err := s.ports()
	if err != nil {
		return machine.Disk{}, err
	}
	used, err := remoting.Credentials{}.DiskUsed(ctx, fmt.Sprintf("127.0.0.1:%d", ports[system.PortBroker]))
	return machine.Disk{Dir: "the broker's volume", Used: used}, err
}

// Instances returns the names of all instances of a process.
func (s *System) Instances(process string) []string {
	return system.Find(process).Instances(s.Replicas())
}

// besides are containers of compose.ha.yaml that are not second instances of a process: what makes a broker take over.
var besides = []string{"namesrv-2", "namesrv-3", "broker-2"}

// names returns the processes of this system in the order they are shown.
func (s *System) names() []string {
	var names []string
	for _, p := range system.Processes {
		names = append(names, s.Instances(p.Name)...)
	}
	if s.Replicas() > 1 {
		names = append(names, besides...)
	}
	return names
}

// Kill kills a container with SIGKILL. The engine, which was told to, does not start it again: Start does.
func (s *System) Kill(ctx context.Context, name string) error {
	_, err := s.run(ctx, "kill", name)
	return err
}

// Stop stops a container in an orderly way, until Start.
func (s *System) Stop(ctx context.Context, name string) error {
	_, err := s.run(ctx, "stop", name)
	return err
}

// Start starts a container, and returns when it runs, which is before it is healthy.
func (s *System) Start(ctx context.Context, name string) error {
	_, err := s.run(ctx, "start", name)
	return err
}
