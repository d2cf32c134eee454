package stack

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// watch is a process that takes the stack down when this one dies. It notices by a pipe, of which only this process holds the
// writing end: the kernel closes it, however this process dies.
type watch struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

func startWatch(root, dir string) (*watch, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(filepath.Join(root, "bin/local"), "watch", "-data", dir)
	cmd.Dir = root
	cmd.Stdin = read
	// What kills a whole group or session must not kill the watch with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &watch{cmd, write}, nil
}

// end lets the watch go.
func (w *watch) end() error {
	return errors.Join(w.pipe.Close(), w.cmd.Wait())
}

// Watch waits until in ends and then takes the stack of dir down. It is what the watching process does.
func Watch(ctx context.Context, dir string, in io.Reader) error {
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	_, err := Down(ctx, dir)
	return err
}
