package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// watch is a process that takes the stack down when this one dies. It notices that by a pipe whose writing end only this process holds: the
// kernel closes it, however this process dies.
type watch struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

// startWatch starts the watch over the stack of dir. A temporary folder is removed after the stack is down.
func startWatch(root, dir string, temporary bool) (*watch, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(filepath.Join(root, "bin/deploy"), "watch", "-data", dir, fmt.Sprintf("-temporary=%t", temporary))
	cmd.Dir = root
	cmd.Stdin = read
	// A signal to a whole group or session must not kill the watch too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &watch{cmd, write}, nil
}

// end ends the watch.
func (w *watch) end() error {
	return errors.Join(w.pipe.Close(), w.cmd.Wait())
}

// Watch waits until in ends, then takes the stack of dir down and removes dir when it is temporary. The watching process runs it.
func Watch(ctx context.Context, dir string, temporary bool, in io.Reader) error {
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	_, err := Down(ctx, dir)
	if err == nil && temporary {
		err = os.RemoveAll(dir)
	}
	return err
}

// checkTemporary returns an error for a folder that may not be removed with its stack.
func checkTemporary(dir string, o Options) error {
	if !o.RandomPorts {
		return errors.New("a temporary stack needs RandomPorts: nobody else would remove its folder")
	}
	inside, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(inside) > 0 {
		err = fmt.Errorf("%s is not empty, so it is not removed with a stack: name another folder", dir)
	}
	return err
}
