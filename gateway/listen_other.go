//go:build !linux

package main

import (
	"syscall"
	"time"
)

// boundConnections does nothing: only Linux has these options.
func boundConnections(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
