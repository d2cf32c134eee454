package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// dataDir returns dir's canonical name, by which its processes are known.
func dataDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no data folder was named")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(dir, "'\"`$\\#\n") {
		return "", fmt.Errorf("the folder %s has a quote, $, # or \\ in its name: use another one", dir)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return dir, nil
}

// short returns a path relative to the working folder when it is inside.
func short(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}

// lock creates dir and keeps other commands from bringing its stack up or down until unlock is called or this process dies. Without log it
// creates nothing: without a folder there is nothing to lock.
func lock(ctx context.Context, dir string, log *progress.Log) (unlock func(), err error) {
	if log == nil {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return func() {}, nil
		}
		return system.Lock(ctx, system.LockFile(dir), func() {})
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var step *progress.Step
	unlock, err = system.Lock(ctx, system.LockFile(dir), func() {
		step = log.Step("wait")
		step.Note("for another command that works on %s", short(dir))
	})
	if step != nil {
		step.Done("for another command")
	}
	return unlock, err
}
