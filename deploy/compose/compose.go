// Package compose brings the system up in containers by compose.yaml and its layers, with the ports of compose.debug.yaml open on 127.0.0.1.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.com/fourfold/deploy/system"
)

// System is the system in containers. It need not be up.
type System struct {
	Options
	root    string   // of the repository
	command []string // Docker Compose
}

// Options are what is chosen of a system.
type Options struct {
	// Project names its containers, networks and volumes.
	Project string
	// HA says that there are two of each service, of coordinator and gateway, and a broker with a replica: compose.ha.yaml.
	HA bool
	// Ports are those on 127.0.0.1, by variable, as system.Ports. Those that are not here are the default ones.
	Ports map[string]int
	// More are further layers, which win.
	More []string
}

// Replicas is how many there are of each process that is not Single.
func (o Options) Replicas() int {
	if o.HA {
		return 2
	}
	return 1
}

// layers returns the files of which the system is made, the last one wins.
func (o Options) layers() string {
	files := []string{"compose.yaml", "compose.debug.yaml"}
	if o.HA {
		files = append(files, "compose.ha.yaml", "compose.ha.debug.yaml")
	}
	return strings.Join(slices.Concat(files, []string{"compose.extras.yaml"}, o.More), ":")
}

// Open returns the system of the repository at root. It fails when no engine or no Docker Compose answers.
func Open(ctx context.Context, root string, o Options) (*System, error) {
	s := &System{Options: o, root: root}
	s.Ports = system.Ports(o.Replicas())
	maps.Copy(s.Ports, o.Ports)
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("no Docker engine answers: %w: %s", err, bytes.TrimSpace(out))
	}
	var errs []error
	for _, command := range [][]string{{"docker", "compose"}, {filepath.Join(root, "bin/docker-compose")}} {
		out, err := exec.CommandContext(ctx, command[0], append(command[1:], "version", "--short")...).CombinedOutput()
		if err == nil {
			s.command = command
			return s, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(out)))
	}
	return nil, fmt.Errorf("no Docker Compose answers: install it, or `scripts/tool.sh docker-compose` builds it: %w", errors.Join(errs...))
}

// Up starts what does not run and returns when all is healthy. The images must be there: images.sh builds them.
func (s *System) Up(ctx context.Context) error {
	_, err := s.run(ctx, "up", "--wait", "--no-build", "--quiet-pull")
	return err
}

// Down stops everything. With data, the data is removed too.
func (s *System) Down(ctx context.Context, data bool) error {
	args := []string{"down", "--remove-orphans"}
	if data {
		args = append(args, "--volumes")
	}
	_, err := s.run(ctx, args...)
	return err
}

// Target returns where everything is, and who signs in, and writes that to the data folder dir.
func (s *System) Target(ctx context.Context, dir string) (t system.Target, err error) {
	text, err := s.run(ctx, "run", "--rm", "--no-deps", "-T", "prepare", "logins")
	if err == nil {
		err = json.Unmarshal([]byte(text), &t)
	}
	if err != nil {
		return system.Target{}, err
	}
	t.Gateway, t.Queues, t.Broker = "http://"+s.addr("gateway", ""), s.addr("queues", ""), s.addr("broker", "")
	t.Admin = map[string]string{}
	t.MySQL.Host, t.MySQL.Port = "127.0.0.1", s.Ports[system.PortVariable("mariadb", "")]
	for _, p := range system.Processes {
		for _, instance := range p.Instances(s.Replicas()) {
			if p.Name == "gateway" {
				t.Gateways = append(t.Gateways, "http://"+s.addr(instance, ""))
			}
			if p.Healthy.Path != "" {
				t.Admin[instance] = "http://" + s.addr(instance, p.Healthy.Role)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return system.Target{}, err
	}
	return t, t.Write(dir)
}

func (s *System) addr(instance, role string) string {
	return "127.0.0.1:" + strconv.Itoa(s.Ports[system.PortVariable(instance, role)])
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

// Container is the state of one container.
type Container struct {
	ID      string `json:"ID"`
	Process string `json:"Service"`
	State   string `json:"State"`  // running, exited, …
	Health  string `json:"Health"` // healthy, starting, unhealthy, "" without a check
	Exit    int    `json:"ExitCode"`
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

// run runs Docker Compose and returns what it prints.
func (s *System) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.command[0], append(s.command[1:], args...)...)
	cmd.Dir = filepath.Join(s.root, "deploy/compose")
	cmd.Env = append(os.Environ(), "COMPOSE_FILE="+s.layers(), "COMPOSE_PROJECT_NAME="+s.Project, "COMPOSE_PROGRESS=plain")
	for name, port := range s.Ports {
		cmd.Env = append(cmd.Env, name+"="+strconv.Itoa(port))
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		err = fmt.Errorf("%s %s: %w: %s", strings.Join(s.command, " "), args[0], err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return string(out), err
}
