// Package stack prepares, starts, watches and stops the whole system on one machine, without containers: MariaDB, Redis, the message broker, the
// coordinator and the services, kept running by process-compose. The demo and the end-to-end tests use it.
//
// It writes only to one data folder. Everything listens on 127.0.0.1 only.
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/deploy/build"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/rocketmq/setup"
	"example.com/fourfold/deploy/system"
)

// Options say how to bring a stack up.
type Options struct {
	// Dir is the data folder; it is created when it does not exist. Stacks in different folders are independent.
	Dir string
	// RandomPorts takes free ports instead of the default ones, and ties the stack to this process: when this process dies, even by SIGKILL, the
	// stack goes down.
	RandomPorts bool
	// Temporary says that Dir, which must be empty, is for this stack alone: it is removed when the stack goes down, even when this process
	// died. It requires RandomPorts.
	Temporary bool
	// Faults allows failpoints to be set over the admin ports.
	Faults bool
	// SkipBuild starts the programs in bin/ as they are.
	SkipBuild bool
	// Replicas is how many instances of each service, of the gateway and of the coordinator run: 1 or 2. 0 means as many as run already, or 1.
	// There is always one MariaDB, name server and broker, one Redis for limits and one for queues.
	Replicas int
	// Env adds to the services' environment, for example ORDER_TTL, and overrides what is in stack.env. PORT_<NAME> chooses a port, PORT_OFFSET
	// shifts those that are not chosen.
	Env map[string]string
	// DatabaseVia returns the port on 127.0.0.1 through which a service, or dtm, reaches the database server, for a proxy in between; port is
	// the server's own. nil means the server's own port.
	DatabaseVia func(service, port string) string
	// Log gets one line for each step; nil discards them.
	Log io.Writer
}

// Stack is a running stack.
type Stack struct {
	root    string // of the repository
	dir     string
	vars    map[string]string // stack.env
	secrets prepare.Secrets
	super   *supervisor
	watch   *watch        // nil unless tied to this process
	claims  []*port.Claim // of random ports
}

// Up prepares, builds and starts what is not running yet and returns when everything is healthy. On a stack that is up it restarts only what is
// stopped or was built anew. A stack with another number of replicas or another value of a variable in o.Env, or of another version of this
// package's files, is stopped and started anew with its data. When a process cannot be made healthy, for example because its port is taken, the error says so, with the remedy.
//
// When ctx ends before Up is done, what it started is stopped. After another failure it keeps running, so that its logs can be read; with
// RandomPorts it is stopped.
func Up(ctx context.Context, o Options) (*Stack, error) {
	log := progress.New(o.Log)
	if o.Replicas < 0 || o.Replicas > system.MaxReplicas {
		return nil, fmt.Errorf("REPLICAS=%d: there can be 1 or %d of each process", o.Replicas, system.MaxReplicas)
	}
	root, err := system.Root()
	if err != nil {
		return nil, err
	}
	dir, err := dataDir(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.Temporary {
		if err := checkTemporary(dir, o); err != nil {
			return nil, err
		}
	}
	unlock, err := lock(ctx, dir, log)
	if err != nil {
		return nil, err
	}
	defer unlock()
	remedy := fmt.Sprintf("keep it with `make down; mv %[1]s %[1]s.old`, and begin anew", short(dir))
	if err := prepare.CheckLayout(dir, "mysql", remedy); err != nil {
		return nil, fmt.Errorf("%s: %w", short(dir), err)
	}

	if s, err := open(root, dir); err == nil && s.super.alive(ctx) {
		why := s.outdated(o)
		if why == "" {
			return s, s.heal(ctx, o, log)
		}
		o.Replicas = cmp.Or(o.Replicas, s.Replicas())
		if err := checkChoice(o); err != nil {
			return nil, err
		}
		step := log.Step("down")
		if err := stopAll(ctx, dir); err != nil {
			step.Fail()
			return nil, err
		}
		step.Done("%s", why)
	} else if err := stopAll(ctx, dir); err != nil { // left over when the supervisor was killed
		return nil, err
	}
	s := &Stack{root: root, dir: dir, super: newSupervisor(dir)}
	if err := s.prepare(ctx, o, log); err != nil {
		s.release()
		return nil, err
	}
	err = s.start(ctx, o, log)
	if err == nil {
		return s, nil
	}
	if o.RandomPorts || ctx.Err() != nil {
		unlock()
		return nil, errors.Join(err, s.Down(context.WithoutCancel(ctx)))
	}
	return nil, remedied(err)
}

// remedied returns the error for a stack that keeps running but is not healthy.
func remedied(err error) error {
	return fmt.Errorf("%w\n`make logs` shows more, `make down` ends what runs", err)
}

// supervisorTool is the tool that keeps the processes running.
const supervisorTool = "process-compose"

// packages are the packages of Debian that the stack needs.
var packages = []machine.Package{
	{Name: "mariadb-server", Programs: []string{"mariadbd", "mariadb-install-db", "mariadb-admin"}},
	{Name: "redis-server", Programs: []string{"redis-server", "redis-cli"}},
	{Name: "openjdk-17-jdk-headless", Programs: []string{"java", "javac"}},
	{Name: "maven", Programs: []string{"mvn"}},
}

// testPackages are those that only tests need.
var testPackages = []machine.Package{
	{Name: "haproxy", Programs: []string{"haproxy"}},
	{Name: "nginx-light", Programs: []string{"nginx"}},
}

// Install installs the packages that are missing, with those of tests, and fetches RocketMQ. It is what runs before tests, so it also fails when
// the disk that their brokers will store on is too full for these.
func Install(ctx context.Context, log *progress.Log) error {
	root, err := system.Root()
	if err != nil {
		return err
	}
	if err := machine.CheckDisk(os.TempDir(), log); err != nil {
		return err
	}
	if err := machine.Install(ctx, log, slices.Concat(packages, testPackages)...); err != nil {
		return err
	}
	return setup.Fetch(ctx, root, log)()
}

// release releases the ports to other stacks.
func (s *Stack) release() {
	for _, c := range s.claims {
		c.Close()
	}
	s.claims = nil
}

// prepare makes everything the processes need.
func (s *Stack) prepare(ctx context.Context, o Options, log *progress.Log) error {
	if err := checkValues(o.Env); err != nil {
		return err
	}
	ports, claims, err := choosePorts(o)
	s.claims = claims
	if err != nil {
		return err
	}
	if err := machine.Install(ctx, log, packages...); err != nil {
		return err
	}
	if err := machine.Check(s.dir, store(s.dir), ports, log); err != nil {
		return err
	}
	fetching, cancel := context.WithCancel(ctx)
	defer cancel()
	fetched := setup.Fetch(fetching, s.root, log) // while the programs are built
	if !o.SkipBuild {
		if err := build.Programs(ctx, s.root, log, supervisorTool); err != nil {
			return err
		}
	}
	if err := fetched(); err != nil {
		return err
	}
	step := log.Step("prepare")
	err = func() error {
		if s.secrets, err = prepare.Load(s.dir); err != nil {
			return err
		}
		s.vars = variables(s.root, s.dir, ports, s.secrets, o)
		if s.vars[fingerprintVariable], err = fingerprint(s.root, s.Replicas()); err != nil {
			return err
		}
		if err := prepare.Keys(s.dir); err != nil {
			return err
		}
		step.Note("making the database")
		if err := prepareMariaDB(ctx, s.dir, s.secrets); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(s.dir, "queues"), 0o700); err != nil {
			return err
		}
		if err := setup.Write(brokerSettings(s.root, s.dir, s.vars)); err != nil {
			return err
		}
		if err := writeProject(s.root, s.dir, s.Replicas()); err != nil {
			return err
		}
		return writeVariables(s.dir, s.vars)
	}()
	if err != nil {
		step.Fail()
		return err
	}
	step.Done("passwords, keys and databases in %s", short(s.dir))
	return nil
}

// start runs the supervisor and waits until everything is healthy.
func (s *Stack) start(ctx context.Context, o Options, log *progress.Log) (err error) {
	step := log.Step("start")
	defer func() {
		if err != nil {
			step.Fail()
		}
	}()
	if o.RandomPorts {
		if s.watch, err = startWatch(s.root, s.dir, o.Temporary); err != nil {
			return err
		}
	}
	if err := s.super.start(ctx, s.root, s.Replicas(), o.Env); err != nil {
		return err
	}
	if err := s.awaitAll(ctx, step); err != nil {
		return err
	}
	step.Done("%d processes healthy", len(s.Names()))
	return nil
}

// Open returns the stack of a data folder, whether it runs or not. It fails when none was ever brought up there.
func Open(dir string) (*Stack, error) {
	root, err := system.Root()
	if err != nil {
		return nil, err
	}
	if dir, err = dataDir(dir); err != nil {
		return nil, err
	}
	return open(root, dir)
}

func open(root, dir string) (*Stack, error) {
	vars, err := readVariables(dir)
	if err != nil {
		return nil, fmt.Errorf("nothing was brought up in %s yet: `make up` does: %w", short(dir), err)
	}
	sec, err := prepare.Load(dir)
	if err != nil {
		return nil, err
	}
	return &Stack{root: root, dir: dir, vars: vars, secrets: sec, super: newSupervisor(dir)}, nil
}

// Running reports whether anything of the stack of a data folder runs.
func Running(dir string) bool {
	dir, err := dataDir(dir)
	return err == nil && len(members(dir)) > 0
}

// HasData reports whether a data folder holds the data of a stack.
func HasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "mysql"))
	return err == nil
}
