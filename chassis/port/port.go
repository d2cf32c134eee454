// Package port chooses ports on 127.0.0.1 for servers that may be killed and started again.
//
// A port that the kernel chooses (":0") will not do for them: it is one of those that outgoing connections take, so while the server is down a
// client, even its own, may get it.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
	"time"
)

// Ephemeral is the first port that Linux gives to outgoing connections unless net.ipv4.ip_local_port_range says otherwise. A
// server's port is a lower one.
const Ephemeral = 32768

const (
	lowest = 20000
	count  = 12000
)

// A Claim keeps a port from everyone else who chooses one with this package, in any process.
type Claim struct {
	Port int
	held []net.Listener
}

// Take chooses a port on which nobody listens. The ports at the offsets besides from it, which may be negative, are free and claimed too. The
// claim holds until it is closed or the process ends, however it ends. Take itself does not listen on the port.
func Take(besides ...int) (*Claim, error) {
	var last error
	for range 1000 {
		c := &Claim{Port: lowest + rand.IntN(count)}
		if last = c.take(besides); last == nil {
			return c, nil
		}
		c.Close()
	}
	return nil, fmt.Errorf("no free port between %d and %d: end what listens there: %w", lowest, lowest+count, last)
}

func (c *Claim) take(besides []int) error {
	for _, beside := range append([]int{0}, besides...) {
		// A name outside the file system: it goes with the process.
		claim, err := net.Listen("unix", fmt.Sprintf("@fourfold-port-%d", c.Port+beside))
		if err != nil {
			return err
		}
		c.held = append(c.held, claim)
		if err := free(c.Port + beside); err != nil {
			return err
		}
	}
	return nil
}

// free returns an error when somebody listens on the port. It connects instead of listening itself: a process forked meanwhile would hold the
// listener open for a moment, and the caller could not listen on its port. (Not every fork in Go takes syscall.ForkLock.)
func free(port int) error {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("somebody listens on %s", addr)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil
	}
	return err
}

// Addr returns 127.0.0.1 and the port as host:port.
func (c *Claim) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)) }

// Close lets others choose the port. A second call does nothing.
func (c *Claim) Close() {
	for _, l := range c.held {
		_ = l.Close()
	}
	c.held = nil
}
