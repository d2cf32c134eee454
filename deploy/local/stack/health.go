package stack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"example.com/fourfold/chassis/probe"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// healthTimeout bounds the wait for everything to become healthy. A database that was killed may have to recover first, and a broker starts
// slowly on a machine that does much else. What waiting cannot help is told at once: see hopeless.
const healthTimeout = 4 * time.Minute

// Health asks a process itself whether it is healthy. The error says why it is not.
func (s *Stack) Health(ctx context.Context, name string) error {
	if err := s.known(name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if question := system.Find(name).Healthy; question.Path != "" {
		return probe.Ask(ctx, s.base(name, question.Role)+question.Path)
	}
	return map[string]func(context.Context, *Stack, string) error{
		"namesrv": brokers, "broker": registered, "mariadb": selectOne, "redis": ping, "queues": ping,
	}[name](ctx, s, name)
}

// WaitHealthy waits until the named processes, or all when none is named, are healthy. It gives up after healthTimeout, or when one of them was
// stopped or dies again and again. The error says which one and why.
func (s *Stack) WaitHealthy(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = s.Names()
	}
	step := progress.New(nil).Step("wait")
	defer step.Done("")
	return s.await(ctx, step, names)
}

// awaitAll waits until all processes are healthy and the topics are there.
func (s *Stack) awaitAll(ctx context.Context, step *progress.Step) error {
	ctx, cancel := context.WithCancel(ctx)
	made := make(chan error, 1)
	go func() { made <- s.makeTopics(ctx) }()
	err := s.await(ctx, step, s.Names())
	if err != nil {
		cancel()
		<-made //nolint:errcheck // the reason why the wait failed says more
		return err
	}
	defer cancel()
	step.Note("making the topics")
	if err := <-made; err != nil {
		return s.unhealthy("broker", err)
	}
	if err := s.grantReader(ctx); err != nil {
		return s.unhealthy("mariadb", err)
	}
	return nil
}

func (s *Stack) await(ctx context.Context, step *progress.Step, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	waiting := map[string]error{}
	for _, name := range names {
		waiting[name] = errors.New("not asked yet")
	}
	restarts := map[string]int{}
	for {
		var (
			mu   sync.Mutex
			wg   sync.WaitGroup
			sick = map[string]error{}
		)
		for name := range waiting {
			wg.Go(func() {
				if err := s.Health(ctx, name); err != nil {
					mu.Lock()
					defer mu.Unlock()
					sick[name] = err
				}
			})
		}
		wg.Wait()
		waiting = sick
		if len(waiting) == 0 {
			return nil
		}
		left := slices.Sorted(maps.Keys(waiting))
		step.Note("waiting for %s", strings.Join(left, ", "))
		for _, name := range left {
			if err := s.hopeless(ctx, name, restarts); err != nil {
				return s.unhealthy(name, errors.Join(err, waiting[name]))
			}
		}
		select {
		case <-ctx.Done():
			return s.unhealthy(left[0], errors.Join(ctx.Err(), waiting[left[0]]))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hopeless returns an error when a process will not become healthy by waiting. restarts holds the restart counts of the first call.
func (s *Stack) hopeless(ctx context.Context, name string, restarts map[string]int) error {
	state, err := s.super.process(ctx, name)
	if err != nil {
		if len(members(s.dir)) == 0 {
			return errors.New("the stack is down: `make up`")
		}
		return nil // still starting, or busy stopping
	}
	if _, seen := restarts[name]; !seen {
		restarts[name] = state.Restarts
	}
	switch {
	case state.Status == "Completed", state.Status == "Error", state.Status == "Skipped", state.Status == "Terminating":
		return fmt.Errorf("it is stopped (%s)", strings.ToLower(state.Status))
	case state.Restarts >= restarts[name]+4:
		return fmt.Errorf("it ends again and again (code %d)", state.ExitCode)
	}
	return nil
}

// unhealthy returns the error for a process that does not become healthy, with the end of its log.
func (s *Stack) unhealthy(name string, reason error) error {
	said, _ := os.ReadFile(s.LogFile(name))
	return fmt.Errorf("%s is not healthy: %w\nthe end of %s:\n%s", name, reason, short(s.LogFile(name)), progress.Tail(string(said), 5))
}

// LogFile returns the file that a process's output goes to.
func (s *Stack) LogFile(name string) string { return filepath.Join(s.dir, "log", name+".log") }

// Logs returns the command that follows the log of a process, "" for all.
func (s *Stack) Logs(process string) (*exec.Cmd, error) {
	files := []string{s.LogFile(process)}
	if process == "" {
		files, _ = filepath.Glob(s.LogFile("*"))
	}
	return exec.Command("tail", append([]string{"-n", "40", "-F"}, files...)...), nil
}

func selectOne(ctx context.Context, s *Stack, _ string) error {
	cfg, err := mysql.ParseDSN(s.ReaderDSN(""))
	if err != nil {
		return err
	}
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	var one int
	return db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// ping asks a Redis server.
func ping(ctx context.Context, s *Stack, name string) error {
	client := redis.NewClient(&redis.Options{Addr: s.addr(name, ""), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	return client.Ping(ctx).Err()
}
