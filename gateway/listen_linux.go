package main

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sendBuffer is how many bytes of an answer the kernel keeps for a client that does not read. By default that is megabytes, so that a whole
// page is written at once, and no deadline ever passes.
const sendBuffer = 256 << 10

// boundConnections makes the kernel end connections of the listener whose data is not acknowledged for so long (RFC 5482), which it otherwise
// repeats for a quarter of an hour, and bounds what it keeps for each.
func boundConnections(unacknowledged time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		controlErr := c.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds())),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer))
		})
		return errors.Join(controlErr, err)
	}
}
