// Package build makes the programs of the system, in bin/, for whichever way it is brought up.
package build

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// Programs brings the services, the gateway, the coordinator and the commands that prepare their start up to date in bin/ of the repository at
// root, and the tools (folders of tools/) that a way to bring them up needs besides.
func Programs(ctx context.Context, root string, log *progress.Log, tools ...string) (err error) {
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
	unlock, err := system.Lock(ctx, system.LockFile(bin), func() { step.Note("waiting for another build") })
	if err != nil {
		return err
	}
	defer unlock()

	sayModules(ctx, log)
	for _, tool := range tools {
		if stale(filepath.Join(bin, tool), filepath.Join(root, "tools", tool)) {
			if err := step.Run(tool, command(ctx, root, "", "scripts/tool.sh", tool)); err != nil {
				return err
			}
		}
	}
	// Without debug information linking takes half the time. -v says what is being compiled.
	args := []string{"build", "-v", "-buildvcs=false", "-ldflags=-s -w", "-o", bin + "/"}
	for _, service := range append([]string{"gateway"}, system.Databases()...) {
		args = append(args, "./"+service)
	}
	args = append(args, "./deploy/rocketmq/cmd/topics", "./deploy/compose/jobs")
	if err := step.Run("services", command(ctx, root, filepath.Join(root, "go.work"), "go", args...)); err != nil {
		return err
	}
	// The command itself, as scripts/deploy.sh does: it watches over the stacks of tests.
	if err := step.Run("deploy", command(ctx, root, "off", "go", "build", "-C", "deploy", "-v", "-buildvcs=false", "-o", bin+"/", ".")); err != nil {
		return err
	}
	if stale(filepath.Join(bin, "dtm"), filepath.Join(root, "deploy/dtm"), filepath.Join(root, "chassis")) {
		if err := step.Run("dtm", command(ctx, root, "", "deploy/dtm/build.sh", filepath.Join(bin, "dtm"))); err != nil {
			return err
		}
	}
	step.Done("%d programs in bin/", len(system.Databases())+5+len(tools))
	return nil
}

// command is a command in root, in a Go workspace ("off" for none, "" for the usual one).
func command(ctx context.Context, root, workspace, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK="+workspace)
	return cmd
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
