// Package compose brings the system up in containers by compose.yaml and its layers, with the ports of compose.debug.yaml open on 127.0.0.1.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// Options say how to bring a system up.
type Options struct {
	// Dir is the data folder. It holds demo.json and what Up was told; the data is in volumes.
	Dir string
	// Project names the containers and volumes; "" means fourfold, or COMPOSE_PROJECT_NAME.
	Project string
	// Replicas is how many of each service, of coordinator and gateway there are: with 2 compose.ha.yaml is loaded, and the broker has a
	// replica. 0 leaves it at what runs, or takes 1.
	Replicas int
	// Env are the services' settings, for example ORDER_TTL, and ports on 127.0.0.1, as system.ChosenPorts.
	Env map[string]string
	// Log gets one line for each step; nil discards them.
	Log io.Writer

	// more are further layers, which win.
	more []string
}

// System is the system in containers. It need not be up.
type System struct {
	root, dir, project string
	command            []string // Docker Compose
	chosen             map[string]string
	more               []string
	log                *progress.Log
}

// replicasVariable holds, among what is chosen, how many there are of each.
const replicasVariable = "REPLICAS"

// Replicas returns how many of each service, of coordinator and gateway there are.
func (s *System) Replicas() int {
	n, _ := strconv.Atoi(s.chosen[replicasVariable])
	return max(1, n)
}

// layers returns the files of which the system is made, the last one wins.
func (s *System) layers() []string {
	files := []string{"compose.yaml", "compose.debug.yaml"}
	if s.Replicas() > 1 {
		files = append(files, "compose.ha.yaml", "compose.ha.debug.yaml")
	}
	return slices.Concat(files, []string{"compose.extras.yaml"}, s.more)
}

// Open returns the system of a project. It fails when no engine or no Docker Compose answers, and when the project's containers are those of
// another copy of the repository.
func Open(ctx context.Context, o Options) (*System, error) {
	root, err := system.Root()
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("no Docker engine answers: %w: %s", err, bytes.TrimSpace(out))
	}
	if o.Replicas < 0 || o.Replicas > system.MaxReplicas {
		return nil, fmt.Errorf("REPLICAS=%d: there can be 1 or %d of each process", o.Replicas, system.MaxReplicas)
	}
	s := &System{root: root, dir: o.Dir, project: o.Project, log: progress.New(o.Log), more: o.more}
	if s.project == "" {
		s.project = os.Getenv("COMPOSE_PROJECT_NAME")
	}
	if s.project == "" {
		s.project = "fourfold"
	}
	var errs []error
	for _, command := range [][]string{{"docker", "compose"}, {filepath.Join(root, "bin/docker-compose")}} {
		out, err := exec.CommandContext(ctx, command[0], append(command[1:], "version", "--short")...).CombinedOutput()
		if err == nil {
			s.command = command
			break
		}
		errs = append(errs, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(out)))
	}
	if s.command == nil {
		return nil, fmt.Errorf("no Docker Compose answers: install it, or `scripts/tool.sh docker-compose` builds it: %w", errors.Join(errs...))
	}
	if err := s.own(ctx); err != nil {
		return nil, err
	}
	if s.chosen, err = s.remembered(); err != nil {
		return nil, err
	}
	maps.Copy(s.chosen, o.Env)
	if o.Replicas > 0 {
		s.chosen[replicasVariable] = strconv.Itoa(o.Replicas)
	}
	return s, nil
}

// own returns an error when the project's containers are those of another copy of the repository.
func (s *System) own(ctx context.Context) error {
	const label = "com.docker.compose.project"
	out, err := exec.CommandContext(ctx, "docker", "ps", "--all", "--filter", "label="+label+"="+s.project, "--format",
		fmt.Sprintf("{{.Label %q}}", label+".working_dir")).Output()
	if err != nil {
		return fmt.Errorf("docker ps: %w", err)
	}
	for dir := range strings.Lines(string(out)) {
		if dir = strings.TrimSpace(dir); dir != s.folder() {
			return fmt.Errorf("the containers of %s are those of %s: end them there, or choose another name by COMPOSE_PROJECT_NAME", s.project, dir)
		}
	}
	return nil
}

// folder is where the files of Docker Compose are.
func (s *System) folder() string { return filepath.Join(s.root, "deploy/compose") }

// chosenFile holds, in the data folder, what Up was told, as long as the system is up: who names nothing leaves it as it is.
const chosenFile = "compose.json"

func (s *System) remembered() (chosen map[string]string, err error) {
	chosen = map[string]string{}
	text, err := os.ReadFile(filepath.Join(s.dir, chosenFile))
	if errors.Is(err, os.ErrNotExist) {
		return chosen, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &chosen)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: delete it, and bring the system up anew", filepath.Join(s.dir, chosenFile), err)
	}
	return chosen, err
}

// Up builds the images, starts what does not run or was built anew, and returns when all is healthy. When ctx ends before, what was started is
// stopped.
func (s *System) Up(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	unlock, err := system.Lock(ctx, system.LockFile(s.dir), func() {})
	if err != nil {
		return err
	}
	defer unlock()
	ports, err := s.ports()
	if err != nil {
		return err
	}
	up, err := s.Running(ctx)
	if err != nil {
		return err
	}
	if !up {
		if err := s.checkMachine(ctx, ports); err != nil {
			return err
		}
	}
	if err := s.Build(ctx); err != nil {
		return err
	}
	text, err := json.Marshal(s.chosen)
	if err != nil {
		return err
	}
	if err := prepare.Secret(filepath.Join(s.dir, chosenFile), text); err != nil {
		return err
	}
	return s.start(ctx, !up)
}

func (s *System) start(ctx context.Context, fresh bool) error {
	step := s.log.Step("start")
	cmd, err := s.cmd(ctx, "up", "--wait", "--no-build", "--quiet-pull", "--remove-orphans")
	if err == nil {
		err = step.Run("containers", cmd)
	}
	if err != nil {
		step.Fail()
		if ctx.Err() != nil && fresh {
			return errors.Join(err, s.Down(context.WithoutCancel(ctx), false))
		}
		return fmt.Errorf("the containers do not start: %s\n%s`make logs` shows more, `make down` ends what runs", progress.Tail(err.Error(), 1),
			s.sick(context.WithoutCancel(ctx)))
	}
	step.Done("%d containers healthy", len(s.names()))
	return nil
}

// Down stops everything. With data, the data is removed too.
func (s *System) Down(ctx context.Context, data bool) error {
	args := []string{"down", "--remove-orphans"}
	if data {
		args = append(args, "--volumes")
	}
	if _, err := s.run(ctx, args...); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, chosenFile)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Seed returns where everything is, and who signs in, and writes that to the data folder. The members are there when the system is up.
func (s *System) Seed(ctx context.Context) (t system.Target, err error) {
	text, err := s.run(ctx, "run", "--rm", "--no-deps", "-T", "prepare", "logins")
	if err == nil {
		err = json.Unmarshal([]byte(text), &t)
	}
	if err != nil {
		return system.Target{}, err
	}
	ports, err := s.ports()
	if err != nil {
		return system.Target{}, err
	}
	addr := func(process, role string) string {
		return "127.0.0.1:" + strconv.Itoa(ports[system.PortVariable(process, role)])
	}
	t.Gateway, t.Queues, t.Broker = "http://"+addr("gateway", ""), addr("queues", ""), addr("broker", "")
	t.Admin = map[string]string{}
	t.MySQL.Host, t.MySQL.Port = "127.0.0.1", ports[system.PortVariable("mariadb", "")]
	for _, name := range s.names() {
		if p := system.Find(name); p.Healthy.Path != "" {
			t.Admin[name] = "http://" + addr(name, p.Healthy.Role)
		}
	}
	for _, name := range s.Instances("gateway") {
		t.Gateways = append(t.Gateways, "http://"+addr(name, ""))
	}
	return t, t.Write(s.dir)
}

func (s *System) ports() (map[string]int, error) {
	return system.ChosenPorts(s.chosen, s.Replicas(), nil)
}

// Run runs the program of a service to its end, in a container like the service's, and returns its output without blanks around it.
func (s *System) Run(ctx context.Context, service string, args ...string) (string, error) {
	text, err := s.run(ctx, slices.Concat([]string{"run", "--rm", "--no-deps", "-T", service}, args)...)
	return strings.TrimSpace(text), err
}

// Logs returns the command that follows the log of a process, "" for all.
func (s *System) Logs(process string) (*exec.Cmd, error) {
	args := []string{"logs", "--follow", "--tail", "40"}
	if process != "" {
		args = append(args, process)
	}
	return s.cmd(context.Background(), args...)
}

// run runs Docker Compose and returns what it prints.
func (s *System) run(ctx context.Context, args ...string) (string, error) {
	cmd, err := s.cmd(ctx, args...)
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", strings.Join(s.command, " "), args[0], err, progress.Tail(said.String(), 5))
	}
	return string(out), err
}

// cmd returns Docker Compose's command.
func (s *System) cmd(ctx context.Context, args ...string) (*exec.Cmd, error) {
	ports, err := s.ports()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, s.command[0], append(s.command[1:], args...)...)
	cmd.Dir = s.folder()
	cmd.Env = append(os.Environ(), "COMPOSE_FILE="+strings.Join(s.layers(), ":"), "COMPOSE_PROJECT_NAME="+s.project, "COMPOSE_PROGRESS=plain", "IMAGES=prebuilt")
	for name, value := range s.chosen {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	for name, port := range ports {
		cmd.Env = append(cmd.Env, name+"="+strconv.Itoa(port))
	}
	return cmd, nil
}
