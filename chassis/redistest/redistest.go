// Package redistest gives tests a real Redis server.
package redistest

import (
	"net"
	"os/exec"
	"testing"
	"time"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
)

// Server is a Redis server on 127.0.0.1 without persistence.
type Server struct {
	Addr string
	stop func()
}

// Start runs a server until the test ends. It fails the test when no Redis server is installed.
func Start(t testing.TB) *Server {
	t.Helper()
	claim, err := port.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(claim.Close)
	s := &Server{Addr: claim.Addr()}
	s.Restart(t)
	return s
}

// Stop kills the server. The second time it does nothing.
func (s *Server) Stop() { s.stop() }

// Restart runs the server, empty, on its port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("the tests need a Redis server: apt-get install redis-server")
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := tied.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.stop = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(s.stop)
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("redis-server ended at once: is %s taken?", s.Addr)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer: ", err)
		}
	}
}
