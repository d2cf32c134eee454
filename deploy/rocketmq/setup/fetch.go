package setup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/progress"
)

// Fetch fetches RocketMQ's jars in the background if they are missing, and waits for other processes that do so at the same time. It says how much
// that downloads. wait returns the result; a caller that does not call it must end ctx.
func Fetch(ctx context.Context, root string, log *progress.Log) (wait func() error) {
	if _, err := os.Stat(filepath.Join(root, ".cache/rocketmq-5.3.3/complete")); err != nil {
		log.Say("broker", "83 MB of RocketMQ from Maven's repository")
	}
	done := make(chan error, 1)
	go func() {
		cmd := exec.CommandContext(ctx, filepath.Join(Source(root), "fetch.sh"))
		// Maven must end with ctx too.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		out, err := cmd.CombinedOutput()
		if err != nil && len(out) > 0 && ctx.Err() == nil {
			err = errors.New(strings.TrimSpace(string(out)))
		}
		done <- err
	}()
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Second):
		}
		step := log.Step("broker")
		step.Note("fetching RocketMQ")
		if err := <-done; err != nil {
			step.Fail()
			return err
		}
		step.Done("RocketMQ is there")
		return nil
	}
}
