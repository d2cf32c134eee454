// Package smalldisk makes small file systems for tests of what happens when a disk is full.
package smalldisk

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a file system of its own, in memory, at Dir.
type Disk struct {
	Dir string
}

// Mount mounts a file system of so many megabytes until the test ends. Stop a server that stores there before: in a t.Cleanup of its own.
func Mount(t testing.TB, megabytes int) Disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", megabytes)); err != nil {
		t.Fatalf("this test needs a file system of its own and may not mount one: run it as root, in a container with CAP_SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return Disk{dir}
}

// Fill writes a file until the part used of the disk, from 0 to 1, is taken. It replaces the one that Fill wrote before.
func (d Disk) Fill(used float64) error {
	if err := d.Empty(); err != nil {
		return err
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &s); err != nil {
		return err
	}
	size := int64(used*float64(s.Blocks))*s.Bsize - int64(s.Blocks-s.Bfree)*s.Bsize
	if size < 0 {
		return fmt.Errorf("more than %.2f of %s is used already", used, d.Dir)
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return syscall.Fallocate(int(f.Fd()), 0, 0, size)
}

// Empty removes what Fill wrote.
func (d Disk) Empty() error {
	if err := os.Remove(d.ballast()); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func (d Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }
