package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"example.com/fourfold/deploy/progress"
)

// lock creates dir and keeps other commands from bringing its stack up or down until unlock is called or this process dies.
func lock(ctx context.Context, dir string, log *progress.Log) (unlock func(), err error) {
	if log != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	var step *progress.Step
	unlock, err = flock(ctx, filepath.Join(dir, ".lock"), func() {
		if log != nil && step == nil {
			step = log.Step("wait")
			step.Note("for another command that works on %s", short(dir))
		}
	})
	if errors.Is(err, fs.ErrNotExist) && log == nil {
		return func() {}, nil // without a folder there is nothing to lock
	}
	if step != nil {
		step.Done("for another command")
	}
	return unlock, err
}

// flock locks a file. It calls busy when it has to wait for another process.
func flock(ctx context.Context, file string, busy func()) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return sync.OnceFunc(func() { _ = f.Close() }), nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		busy()
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
