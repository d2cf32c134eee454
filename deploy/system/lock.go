package system

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// LockFile is what keeps other commands from bringing the system of a data folder up or down.
func LockFile(dir string) string { return filepath.Join(dir, ".lock") }

// Lock locks a file, which it creates, until unlock is called or this process dies. It calls busy before it waits for another process.
func Lock(ctx context.Context, file string, busy func()) (unlock func(), err error) {
	l := flock.New(file, flock.SetPermissions(0o600))
	locked, err := l.TryLock()
	if err == nil && !locked {
		busy()
		_, err = l.TryLockContext(ctx, 50*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { _ = l.Close() }, nil
}
