package stack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// build brings bin/ up to date.
func build(ctx context.Context, root string, log *progress.Log) (err error) {
	step := log.Step("build")
	defer func() {
		if err != nil {
			step.Fail()
		}
	}()
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	// Two builds at a time would disturb each other.
	unlock, err := flock(ctx, filepath.Join(bin, ".lock"), func() { step.Note("waiting for another build") })
	if err != nil {
		return err
	}
	defer unlock()

	if stale(filepath.Join(bin, "process-compose"), filepath.Join(root, "tools/process-compose")) {
		if err := run(ctx, step, "process-compose", root, "", "scripts/tool.sh", "process-compose"); err != nil {
			return err
		}
	}
	// Without debug information linking takes half the time. -v says what is being compiled.
	args := []string{"build", "-v", "-buildvcs=false", "-ldflags=-s -w", "-o", bin + "/"}
	for _, service := range append([]string{"gateway"}, system.Databases()...) {
		args = append(args, "./"+service)
	}
	args = append(args, "./deploy/rocketmq/cmd/topics")
	if err := run(ctx, step, "services", root, filepath.Join(root, "go.work"), "go", args...); err != nil {
		return err
	}
	args = []string{"build", "-v", "-buildvcs=false", "-o", bin + "/", "./local"}
	if err := run(ctx, step, "local", filepath.Join(root, "deploy"), "off", "go", args...); err != nil {
		return err
	}
	if stale(filepath.Join(bin, "dtm"), filepath.Join(root, "deploy/dtm"), filepath.Join(root, "chassis")) {
		if err := run(ctx, step, "dtm", root, "", "deploy/dtm/build.sh", filepath.Join(bin, "dtm")); err != nil {
			return err
		}
	}
	step.Done("%d programs in bin/", len(system.Databases())+5)
	return nil
}

// stale reports whether a program is older than anything in its source folders.
func stale(program string, sources ...string) bool {
	built, err := os.Stat(program)
	if err != nil {
		return true
	}
	newest := time.Time{}
	for _, dir := range sources {
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := d.Info(); err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
			return nil
		})
	}
	return newest.After(built.ModTime())
}

// run runs a command in dir, in a Go workspace ("off" for none), and shows its progress in the step. The error holds the end of the command's
// output.
func run(ctx context.Context, step *progress.Step, title, dir, workspace, name string, args ...string) error {
	step.Note("%s", title)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK="+workspace)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	var said strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		compiled := 0
		for scan := bufio.NewScanner(out); scan.Scan(); {
			line := strings.TrimSpace(scan.Text())
			switch {
			case line == "":
			case !strings.ContainsAny(line, " :"): // a package, by go build -v
				compiled++
				step.Note("%s: %d packages compiled", title, compiled)
			default:
				step.Note("%s: %s", title, strings.TrimPrefix(line, "go: "))
				said.WriteString(line + "\n")
			}
		}
		_, _ = io.Copy(io.Discard, out) // a line too long to scan
	}()
	err := cmd.Run()
	_ = in.Close()
	<-done
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{filepath.Base(name)}, args...), " "), err, tail(said.String(), 30))
	}
	return nil
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
