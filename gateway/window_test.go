package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// smallWindow lets a client take little that it does not read.
func smallWindow(_, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	if controlErr != nil {
		return controlErr
	}
	return err
}
