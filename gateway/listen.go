package main

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"example.com/fourfold/gateway/internal/limit"
)

// listen returns a listener for the public port. A peer that is gone without a word is noticed within gone: by the kernel, which ends a
// connection when what was sent is not acknowledged for so long, or when its probes of a silent one are not answered. perAddress bounds how
// many connections an address may have open at once, 0 not at all; proxies of ours may have any number. One more is closed at once, before
// anything is read.
func listen(addr string, gone time.Duration, perAddress int, proxies limit.Proxies) (net.Listener, error) {
	config := net.ListenConfig{
		Control:         boundConnections(gone),
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: gone / 2, Interval: max(time.Second, gone/4), Count: 2},
	}
	inner, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil || perAddress == 0 {
		return inner, err
	}
	return &bounded{Listener: inner, perAddress: perAddress, proxies: proxies, open: map[netip.Addr]int{}}, nil
}

// bounded is a listener that counts connections by address.
type bounded struct {
	net.Listener
	perAddress int
	proxies    limit.Proxies

	mu   sync.Mutex
	open map[netip.Addr]int
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, counted := b.proxies.Peer(conn.RemoteAddr().String())
		if !counted {
			return conn, nil
		}
		if b.take(addr) {
			return &countedConn{Conn: conn, done: sync.OnceFunc(func() { b.release(addr) })}, nil
		}
		_ = conn.Close()
	}
}

func (b *bounded) take(addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[addr] >= b.perAddress {
		return false
	}
	b.open[addr]++
	return true
}

func (b *bounded) release(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[addr]--; b.open[addr] == 0 {
		delete(b.open, addr)
	}
}

type countedConn struct {
	net.Conn
	done func()
}

func (c *countedConn) Close() error {
	c.done()
	return c.Conn.Close()
}
