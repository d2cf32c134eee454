package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/progress"
)

// supervisor is process-compose. Its API is on a Unix socket in the data folder, because on TCP it would listen on every address of the machine.
type supervisor struct {
	dir  string
	http *http.Client
}

const (
	socket  = "process-compose.sock"
	errFile = "process-compose.err"
)

func newSupervisor(dir string) *supervisor {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		// A socket's path has at most 107 bytes; by way of /proc the folder's name may be longer.
		folder, err := os.Open(dir)
		if err != nil {
			return nil, err
		}
		defer func() { _ = folder.Close() }()
		return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), socket))
	}
	return &supervisor{dir, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// processState is what process-compose says about a process.
type processState struct {
	Name     string `json:"name"`
	Status   string `json:"status"`
	Pid      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	ExitCode int    `json:"exit_code"`
}

func (p processState) running() bool { return p.Status == "Running" && alive(p.Pid) }

// start starts process-compose in a session of its own, so that Ctrl-C at the terminal does not reach the stack, and waits until it answers.
func (v *supervisor) start(ctx context.Context, root string, replicas int, env map[string]string) error {
	if err := os.MkdirAll(filepath.Join(v.dir, "log"), 0o700); err != nil {
		return err
	}
	stderr, err := os.Create(filepath.Join(v.dir, "log", errFile))
	if err != nil {
		return err
	}
	defer func() { _ = stderr.Close() }()
	args := []string{"-t=false", "-u", socket, "--ordered-shutdown", "--keep-project", "-e", variablesFile, "-L", "log/process-compose.log"}
	args = append(args, "-f", projectFile(root))
	if replicas > 1 {
		args = append(args, "-f", secondFile)
	}
	cmd := exec.Command(filepath.Join(root, "bin/process-compose"), args...)
	cmd.Dir = v.dir
	cmd.Env = supervisorEnv(v.dir, env)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for {
		if v.alive(ctx) {
			return nil
		}
		select {
		case err := <-exited:
			said, _ := os.ReadFile(stderr.Name())
			return fmt.Errorf("process-compose ended at once: %w: %s", errors.Join(errors.New("exit"), err), progress.Tail(string(said), 5))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// supervisorEnv returns the caller's environment with env, without what would configure process-compose, and with the mark by which the stack's
// processes are known.
func supervisorEnv(dir string, env map[string]string) []string {
	// What only notify may have reaches it through stack.env.
	notify := NotifyDefaults()
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		_, private := notify[name]
		return strings.HasPrefix(v, "PC_") || name == machine.Marker || private
	})
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if _, private := notify[name]; !private {
			own = append(own, name+"="+env[name])
		}
	}
	return append(own, machine.Marker+"="+dir)
}

// lastWords returns how process-compose broke down, "" when it did not say.
func (v *supervisor) lastWords() string {
	said, _ := os.ReadFile(filepath.Join(v.dir, "log", errFile))
	for _, begin := range []string{"fatal error: ", "panic: "} {
		if _, rest, found := strings.Cut(string(said), begin); found {
			return "; it broke down: " + begin + rest[:min(len(rest), 4000)]
		}
	}
	return ""
}

func (v *supervisor) alive(ctx context.Context) bool {
	return v.call(ctx, http.MethodGet, "/live", nil) == nil
}

func (v *supervisor) process(ctx context.Context, name string) (processState, error) {
	var p processState
	err := v.call(ctx, http.MethodGet, "/process/"+name, &p)
	return p, err
}

func (v *supervisor) stopProcess(ctx context.Context, name string) error {
	return v.call(ctx, http.MethodPatch, "/process/stop/"+name, nil)
}

func (v *supervisor) startProcess(ctx context.Context, name string) error {
	return v.call(ctx, http.MethodPost, "/process/start/"+name, nil)
}

// stopProject stops all processes, in order, and process-compose itself. It returns when process-compose answers, which is when all are stopped.
func (v *supervisor) stopProject(ctx context.Context) error {
	return v.call(ctx, http.MethodPost, "/project/stop", nil)
}

// call makes one call and decodes the answer into reply, unless that is nil.
func (v *supervisor) call(ctx context.Context, method, path string, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://process-compose"+path, nil)
	if err != nil {
		return err
	}
	res, err := v.http.Do(req)
	if err != nil {
		return fmt.Errorf("process-compose does not answer: %w%s", err, v.lastWords())
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var refusal struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(body, &refusal)
		return fmt.Errorf("process-compose: %s %s: %s", method, path, refusal.Error)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(body, reply)
}
