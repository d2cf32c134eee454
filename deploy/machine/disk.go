package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/deploy/progress"
)

// Disk is a disk that holds a message broker's store.
type Disk struct {
	Dir string
	// Used is which part of it is used, as the broker counts: of what is not reserved for root, from 0 to 1.
	Used float64
}

// DiskOf returns the disk that the broker's store is on, or will be.
func DiskOf(store string) (Disk, error) {
	for {
		var s syscall.Statfs_t
		err := syscall.Statfs(store, &s)
		if err == nil {
			used := float64(s.Blocks - s.Bfree)
			return Disk{store, used / max(1, used+float64(s.Bavail))}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || store == filepath.Dir(store) {
			return Disk{}, fmt.Errorf("how full the disk at %s is cannot be read: %w", store, err)
		}
		store = filepath.Dir(store)
	}
}

// Err returns an error for a disk on which the broker takes no message.
func (d Disk) Err() error {
	if d.Used < remoting.Full {
		return nil
	}
	return fmt.Errorf("the disk at %s is %.0f %% full, and from %.0f %% on the message broker takes nothing: make room there", d.Dir, 100*d.Used,
		100*remoting.Full)
}

// Warning returns what to say about a disk that will soon be too full, "" for others.
func (d Disk) Warning() string {
	if d.Used < remoting.Tight || d.Err() != nil {
		return ""
	}
	return fmt.Sprintf("the disk at %s is %.0f %% full: make room before %.0f %%, from which on the message broker takes nothing", d.Dir, 100*d.Used,
		100*remoting.Full)
}

// Check warns of a disk that is tight, and returns an error for one that is full.
func (d Disk) Check(log *progress.Log) error {
	if warning := d.Warning(); warning != "" {
		log.Warn(warning)
	}
	return d.Err()
}

// CheckDisk checks the disk that the broker's store is on, or will be.
func CheckDisk(store string, log *progress.Log) error {
	d, err := DiskOf(store)
	if err != nil {
		return err
	}
	return d.Check(log)
}
