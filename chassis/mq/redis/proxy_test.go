package redis_test

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/redis"
)

// proxy passes connections on to a server until it is cut. Who is connected through it is then as good as dead.
type proxy struct {
	l      net.Listener
	mu     sync.Mutex
	conns  []net.Conn
	cut    bool
	silent bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{l: l}
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			if !p.keep(from, server) {
				continue
			}
			go p.pass(from, server)
			go p.pass(server, from)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, conn := range p.conns {
			_ = conn.Close()
		}
	})
	return p
}

// through has a connection go through p.
func (p *proxy) through(cfg *redis.Config) { cfg.Addr = p.l.Addr().String() }

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conns...)
	if p.cut && !p.silent {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	return !p.cut
}

func (p *proxy) passes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.cut
}

func (p *proxy) pass(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.passes() {
			if !p.silent {
				_ = to.Close()
			}
			return
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}

// die ends all connections, or, silently, keeps them and passes nothing on.
func (p *proxy) die(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.silent = true, silent
	if !silent {
		for _, conn := range p.conns {
			_ = conn.Close()
		}
	}
}
